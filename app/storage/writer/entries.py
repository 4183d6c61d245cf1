"""What waits to be stored."""

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
    """The database is there, and cannot take one of the entries."""


class AliasPair(msgspec.Struct, frozen=True, gc=False):
    """An identifier and an MDN in the alias book of an account."""

    account: str
    device: str
    mdn: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one callback, one fix or one deed adds: stored as a whole or not at all.

    Attributes:
        simple_fix: A callback that holds a simple fix, with its report; then there is nothing else.
        refused: Pairs of which the provider says that they do not belong together; they are forgotten.
    """

    simple_fix: NewSimpleFix | None = None

    reports: tuple[NewReport, ...] = ()
    callback: NewCallback | None = None
    body: bytes = b""
    audit: tuple[NewAudit, ...] = ()
    refused: tuple[AliasPair, ...] = ()


class Stored(asyncio.Future[None]):
    """Done when a batch is committed; many wait for it, and who is cancelled meanwhile takes nobody along."""

    def cancel(self, msg: object = None) -> bool:
        """Stay as it is; the one who waits is cancelled once this is done."""
        return False


class CommitListener(Protocol):
    """Who is to be told that an entry is stored; a hundred of them are told in one go."""

    def stored(self) -> None:
        """Take note that it is committed."""

    def not_stored(self, error: Unavailable) -> None:
        """Take note that it is not known to be stored."""


@dataclass(slots=True, eq=False)
class Batch:
    """Entries that are stored together.

    Attributes:
        done: Shared by all who await one of the entries.
        waiting: Who else is told, without a future of their own.
        begun_at: When the first entry came, on the performance counter.
        commit: What becomes its span, where traces are recorded.
    """

    done: Stored
    entries: list[Entry] = field(default_factory=list)
    waiting: "list[CommitListener]" = field(default_factory=list)
    begun_at: float = field(default_factory=time.perf_counter)
    commit: Commit | None = None
