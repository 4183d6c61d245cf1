"""What waits to be stored."""

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

from app.errors import Unavailable
from app.storage.audit import NewAudit
from app.storage.rows import NewCallback, NewReport


class Unstorable(Unavailable):
    """The database is there, and cannot take one of the entries."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one callback, one fix or one deed adds: stored as a whole or not at all."""

    reports: tuple[NewReport, ...] = ()
    callback: NewCallback | None = None
    body: bytes = b""
    audit: tuple[NewAudit, ...] = ()


class Stored(asyncio.Future[None]):
    """Done when a batch is durable; many wait for it, and who is cancelled meanwhile does not take the others along."""

    def cancel(self, msg: object = None) -> bool:
        """Stay as it is; the one who waits is cancelled once this is done."""
        return False


@dataclass(slots=True, eq=False)
class Batch:
    """Entries that are stored together.

    Attributes:
        done: Shared by all who wait for one of the entries.
        begun_at: When the first entry came, on the performance counter.
        stored_from: When the latest attempt to store it began, on the same clock.
        is_repeated: Whether an earlier attempt may have stored some of it, or all.
    """

    done: Stored
    entries: list[Entry] = field(default_factory=list)
    begun_at: float = field(default_factory=time.perf_counter)
    stored_from: float = 0.0
    is_repeated: bool = False
