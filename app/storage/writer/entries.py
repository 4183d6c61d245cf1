"""What is queued to be stored."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from app.errors import Unavailable
from app.observability.tracing import Commit
from app.storage.audit import NewAudit
from app.storage.rows import NewCallback, NewReport, NewSimpleFix


class Unstorable(Unavailable):
    """The database is available, and cannot store one of the entries."""


class AliasPair(msgspec.Struct, frozen=True, gc=False):
    """An identifier and an MDN in the alias book of an account."""

    account: str
    device: str
    mdn: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one callback, one fix or one audited action adds; stored as a whole or not at all.

    Attributes:
        simple_fix: A callback that holds a simple fix, with its report; then there is nothing else.
        refused: Pairs that the provider has denied; they are removed from the alias book.
    """

    simple_fix: NewSimpleFix | None = None

    reports: tuple[NewReport, ...] = ()
    callback: NewCallback | None = None
    body: bytes = b""
    audit: tuple[NewAudit, ...] = ()
    refused: tuple[AliasPair, ...] = ()


class Stored(asyncio.Future[None]):
    """Done when a batch is committed; many tasks await it, so cancelling one of them does not cancel it."""

    def cancel(self, msg: object = None) -> bool:
        """Ignore the cancellation; the task is cancelled once this is done."""
        return False


class CommitListener(Protocol):
    """Called when an entry is committed; cheaper than a task of its own for each of hundreds of entries."""

    def stored(self) -> None:
        """Handle the commit."""

    def not_stored(self, error: Unavailable) -> None:
        """Handle the failure: the entry is not known to be stored."""


@dataclass(slots=True, eq=False)
class Batch:
    """Entries that are stored together.

    Attributes:
        done: Shared by all tasks that await one of the entries.
        listeners: Called when `done` is.
        begun_at: When the first entry came, on the performance counter.
        commit: Becomes the span of the commit, if traces are recorded.
    """

    done: Stored
    entries: list[Entry] = field(default_factory=list)
    listeners: "list[CommitListener]" = field(default_factory=list)
    begun_at: float = field(default_factory=time.perf_counter)
    commit: Commit | None = None
