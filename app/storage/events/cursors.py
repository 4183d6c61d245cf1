"""How far a reader has come in the log, as a set of transactions. Pure.

Transactions become visible in another order than they get their numbers, so a place in that order would skip what
commits late. A cursor says instead which transactions have been seen: all below `upper` but those that were still
running. What was running then is unseen until it is read; nobody waits for it.

`upper` comes from the numbers of rows that were read, never from the snapshot alone: the number of a transaction that
left no trace on the disk is given a second time after a crash. A generation is one life of a database cluster, within
which numbers only rise (see migration 0014). No transaction that ran in an earlier one is still to come.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import msgspec

_MOST_PENDING = 10_000
_LONGEST_PLACE = 10
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 2)]


class EventPosition(NamedTuple):
    """Where an event stands: `place` counts within a row of the log, `part` tells rows of one transaction apart."""

    generation: int
    xid: int
    part: int
    place: int


class SeenPart(NamedTuple):
    """How much of one transaction has been seen: all parts before `part`, and of that one all up to `place`."""

    xid: int
    part: int
    place: int


class Snapshot(NamedTuple):
    """What Postgres could see in one moment: the numbers from `xmax` on had not begun, those of `running` not ended."""

    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read a `pg_snapshot`, such as `10:20:10,14`."""
        _, xmax, running = text.split(":")
        return cls(int(xmax), frozenset(map(int, running.split(","))) if running else frozenset())


class _Written(msgspec.Struct, array_like=True, frozen=True):
    """A cursor as it is written; `pending` holds distances from `upper`."""

    generation: _Number
    upper: _Number
    pending: Annotated[list[_Number], msgspec.Meta(max_length=_MOST_PENDING)]
    xid: _Number | None = None
    part: _Number = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Written).decode


@dataclass(frozen=True, slots=True)
class Cursor:
    """The events that a reader has seen.

    Attributes:
        upper: Transactions of this generation from here on are unseen.
        pending: Those below that are unseen all the same.
        partial: How much has been seen of one transaction that is otherwise unseen.
    """

    generation: int = 0
    upper: int = 0
    pending: tuple[int, ...] = ()
    partial: SeenPart | None = None

    def has_seen(self, position: EventPosition) -> bool:
        """Return whether an event has been seen."""
        if position.generation != self.generation:
            return position.generation < self.generation
        if self.partial is not None and position.xid == self.partial.xid:
            return (position.part, position.place) <= (self.partial.part, self.partial.place)
        return self.has_all_of(position.xid)

    def has_all_of(self, xid: int) -> bool:
        """Return whether all events of a transaction of this generation have been seen."""
        is_partial = self.partial is not None and self.partial.xid == xid
        return xid < self.upper and xid not in self.pending and not is_partial

    def after(self, position: EventPosition, snapshot: Snapshot) -> "Cursor":
        """Go on to an event, once all that comes before it in this snapshot has been seen.

        A transaction that has been seen in part comes first, then the others by their numbers.

        Args:
            position: Where the event stands; nothing that this cursor has seen.
            snapshot: The one in which it was read.
        """
        place = SeenPart(position.xid, position.part, position.place)
        if self.partial is not None and (self.generation, self.partial.xid) == position[:2]:
            return replace(self, partial=place)
        begun = self._without_partial()
        if position.generation != self.generation or position.xid >= begun.upper:
            begun = _up_to(begun, position.generation, position.xid, snapshot)
        left = tuple(xid for xid in begun.pending if xid >= position.xid or xid in snapshot.running)
        return replace(begun, pending=left, partial=place)

    def _without_partial(self) -> "Cursor":
        """Go on to the end of the transaction that has been seen in part."""
        if self.partial is None:
            return self
        pending = tuple(one for one in self.pending if one != self.partial.xid)
        return Cursor(self.generation, max(self.upper, self.partial.xid + 1), pending)

    def at_end(self, last: EventPosition | None, snapshot: Snapshot) -> "Cursor":
        """Go on to the end of the log, once all that the snapshot shows has been seen; `last` is the last of that."""
        if last is None or (last.generation == self.generation and last.xid < self.upper):
            return _up_to(self, self.generation, self.upper, snapshot)
        return _up_to(self, last.generation, last.xid + 1, snapshot)

    def union(self, other: "Cursor") -> "Cursor":
        """Unite what two readers have seen; at most one of them may be within a transaction."""
        if self.generation != other.generation:
            return max(self, other, key=lambda cursor: cursor.generation)
        both = (self, other)
        pending = {xid for cursor in both for xid in cursor.pending if not any(one.has_all_of(xid) for one in both)}
        partial = self.partial or other.partial
        if partial is not None and any(cursor.has_all_of(partial.xid) for cursor in both):
            partial = None
        return Cursor(self.generation, max(self.upper, other.upper), tuple(sorted(pending)), partial)

    def has_missed(self, dropped: EventPosition) -> bool:
        """Return whether an event may have been unseen that is no longer kept; `dropped` is the last of these."""
        if dropped.generation != self.generation:
            return dropped.generation > self.generation
        return self.upper <= dropped.xid or any(xid <= dropped.xid for xid in self.pending)

    @property
    def stem(self) -> str:
        """The text of all but the place, which is the same for all events of a row."""
        xid, part = (None, 0) if self.partial is None else self.partial[:2]
        written = _Written(self.generation, self.upper, [self.upper - one for one in self.pending], xid, part)
        return urlsafe_b64encode(_encode(written)).decode().rstrip("=")

    def __str__(self) -> str:
        return self.stem if self.partial is None else f"{self.stem}.{self.partial.place}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text of a cursor.

        Raises:
            ValueError: It is none.
        """
        stem, dot, place = text.partition(".")
        try:
            written = _decode(urlsafe_b64decode(stem + "=" * (-len(stem) % 4)))
        except (ValueError, msgspec.MsgspecError) as error:
            raise ValueError("This is no cursor.") from error
        has_place = place.isascii() and place.isdigit() and len(place) < _LONGEST_PLACE
        if (written.xid is not None) != has_place or bool(dot) != has_place:
            raise ValueError("This is no cursor.")
        if max(written.pending, default=0) > written.upper:
            raise ValueError("This is no cursor.")
        partial = None if written.xid is None else SeenPart(written.xid, written.part, int(place))
        pending = tuple(sorted({written.upper - one for one in written.pending}))
        return cls(written.generation, written.upper, pending, partial)


def _up_to(cursor: Cursor, generation: int, upper: int, snapshot: Snapshot) -> Cursor:
    """Go on to a transaction: all that is visible before it has been seen, and what still runs has not."""
    is_same = generation == cursor.generation
    unseen = {xid for xid in snapshot.running if (cursor.upper if is_same else 0) <= xid < upper}
    if is_same:
        unseen.update(xid for xid in cursor.pending if xid in snapshot.running)
    return Cursor(generation, upper, tuple(sorted(unseen)))


ORIGIN = Cursor()
"""Before the first event that ever was."""
