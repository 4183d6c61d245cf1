"""Reading the log: the events that a cursor has not seen, in one snapshot.

The order is that of transaction numbers. A transaction that begins after another one was committed has the higher
number, so what follows each other stays in order; what overlaps has none.
"""

# ruff: noqa: S608 -- statements are put together from the constants of this module

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import asyncpg

from app.errors import CursorExpired
from app.ids import instant_of
from app.storage.database import Database
from app.storage.events.cursors import ORIGIN, Cursor, EventPosition, SeenPart, Snapshot
from app.storage.events.members import SessionMembers, members_of
from app.storage.reports.records import COLUMNS, ReportRecord, to_record

MOST_EVENTS = 1000
"""How many events one page has at most."""
_MOST_ROWS = 500

_COLUMNS = "generation, xid, part, size, stored_at, report_ids, id, type, subject, at, account, session_id, data"
_UNSEEN = f"""
    (
        SELECT {_COLUMNS} FROM events WHERE (generation, xid) >= ($1::bigint, $2::bigint)
        ORDER BY generation, xid, part LIMIT {_MOST_ROWS}
    ) UNION ALL (
        SELECT {_COLUMNS} FROM events WHERE generation = $1::bigint AND xid = ANY ($3::bigint[])
        ORDER BY generation, xid, part LIMIT {_MOST_ROWS}
    )
"""
_ORDER = "(generation = $1::bigint AND xid = $4::bigint) DESC, generation, xid, part"
# The rows of the log are wide, and are opened only where they belong to the page.
_READ = f"""
SELECT
    pg_current_snapshot()::text AS snapshot,
    $1::bigint = 0 OR EXISTS (SELECT FROM event_generations WHERE generation = $1::bigint) AS is_known,
    dropped.generation AS dropped_generation, dropped.dropped_xid, page.*
FROM (SELECT) AS one
LEFT JOIN (
    SELECT generation, dropped_xid FROM event_generations WHERE dropped_xid > 0 ORDER BY generation DESC LIMIT 1
) AS dropped ON true
LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS found, sum(size) OVER (ORDER BY {_ORDER}) - size AS before
        FROM (
            SELECT * FROM ({_UNSEEN}) AS unseen
            WHERE NOT (generation = $1::bigint AND xid = $4::bigint AND part < $5::bigint)
            ORDER BY {_ORDER} LIMIT {_MOST_ROWS}
        ) AS first
    ) AS counted
    WHERE before < $6::bigint
) AS page ON true
ORDER BY before
"""
# As `reports.statements.looked_up` has it, which says why; the span rules partitions out at once.
_REPORTS = f"""
SELECT {COLUMNS}
FROM unnest($1::timestamptz[], $2::uuid[]) AS wanted (at, id)
CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM reports AS r
    WHERE r.at = wanted.at AND r.id >= wanted.id AND r.at BETWEEN $3::timestamptz AND $4::timestamptz
    ORDER BY r.id LIMIT 1
) AS r
WHERE r.id = wanted.id
"""
_EARLIEST = (
    "SELECT generation, dropped_xid FROM event_generations WHERE dropped_xid > 0 ORDER BY generation DESC LIMIT 1"
)
_LATEST = """
SELECT pg_current_snapshot()::text AS snapshot, generation, xid
FROM (SELECT generation, xid FROM events ORDER BY generation DESC, xid DESC, part DESC LIMIT 1) AS newest
"""


class OtherEvent(NamedTuple):
    """What happened, where it is no report; the members are columns of `events`.

    Attributes:
        session: The devices of the session that it is about.
    """

    id: UUID
    type: str
    subject: str
    at: datetime
    account: str | None
    session_id: UUID | None
    data: str
    session: SessionMembers | None = None


class StoredEvent(NamedTuple):
    """One event of the log: a report, or something else.

    Attributes:
        row: Where a reader goes on who has seen the row of the log in which the event stands, up to some place.
        stem: The text of that cursor but for the place.
    """

    place: int
    row: Cursor
    stem: str
    what: ReportRecord | OtherEvent

    @property
    def position(self) -> EventPosition:
        """Where the event stands in the log."""
        assert self.row.partial is not None
        return EventPosition(self.row.generation, self.row.partial.xid, self.row.partial.part, self.place)

    @property
    def cursor(self) -> Cursor:
        """Where a reader goes on who has seen the event."""
        assert self.row.partial is not None
        return replace(self.row, partial=self.row.partial._replace(place=self.place))

    @property
    def cursor_text(self) -> str:
        """The same as text."""
        return f"{self.stem}.{self.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some events in their order.

    Attributes:
        next: Where to go on; behind events that are no longer there, too.
        is_last: Whether the page ends where the log ended when it was read.
    """

    events: Sequence[StoredEvent]
    next: Cursor
    is_last: bool


async def earliest(database: Database) -> Cursor:
    """Find the place before the oldest event that is kept.

    Raises:
        Unavailable: The database cannot be reached.
    """
    rows = await database.fetch_primary(_EARLIEST)
    return Cursor(rows[0]["generation"], rows[0]["dropped_xid"] + 1) if rows else ORIGIN


async def latest(database: Database) -> Cursor:
    """Find the place behind the newest event.

    Raises:
        Unavailable: The database cannot be reached.
    """
    rows = await database.fetch_primary(_LATEST)
    if not rows:
        return await earliest(database)
    newest = EventPosition(rows[0]["generation"], rows[0]["xid"], 0, 0)
    return ORIGIN.at_end(newest, Snapshot.parse(rows[0]["snapshot"]))


async def read(database: Database, cursor: Cursor, *, limit: int = MOST_EVENTS) -> LogPage:
    """Read the events that a cursor has not seen, on the primary: a standby does not know what still runs.

    Args:
        limit: How many events at most, up to `MOST_EVENTS`.

    Raises:
        CursorExpired: Events that it has not seen are no longer kept, or it is from another database.
        Unavailable: The database cannot be reached.
    """
    begun = (-1, 0, limit) if cursor.partial is None else _begun(cursor.partial, limit)
    found = await database.fetch_primary(_READ, cursor.generation, cursor.upper, list(cursor.pending), *begun)
    snapshot = Snapshot.parse(found[0]["snapshot"])
    _check_kept(cursor, found[0])
    rows = [row for row in found if row["xid"] is not None]
    unseen = list(islice(_unseen(cursor, rows), limit + 1))
    page = unseen[:limit]
    records = await records_of(database, [row["report_ids"][place] for row, place in page if row["report_ids"]])
    sessions = await members_of(database, {row["session_id"] for row, _ in page if row["session_id"] is not None})
    events = [event for event in _to_events(cursor, snapshot, page, records, sessions) if event is not None]
    if len(unseen) <= limit and (not rows or len(rows) == rows[0]["found"] < _MOST_ROWS):
        newest = max((_position(row) for row in rows), default=None)
        return LogPage(events=events, next=cursor.at_end(newest, snapshot), is_last=True)
    last, place = page[-1]
    return LogPage(events=events, next=cursor.after(_position(last, place), snapshot), is_last=False)


def _begun(partial: SeenPart, limit: int) -> tuple[int, int, int]:
    return partial.xid, partial.part, limit + partial.place + 1


def _check_kept(cursor: Cursor, row: asyncpg.Record) -> None:
    if not row["is_known"]:
        raise CursorExpired("The cursor is from another database; go on from `earliest` or `latest`.")
    dropped = row["dropped_generation"]
    if dropped is not None and cursor.has_missed(EventPosition(dropped, row["dropped_xid"], 0, 0)):
        raise CursorExpired("Events after the cursor are no longer kept; go on from `earliest` or `latest`.")


def _unseen(cursor: Cursor, rows: Iterable[asyncpg.Record]) -> Iterator[tuple[asyncpg.Record, int]]:
    """Return the places of the rows that have not been seen."""
    partial = cursor.partial
    for row in rows:
        is_begun = partial is not None and _position(row)[:3] == (cursor.generation, *partial[:2])
        for place in range(partial.place + 1 if partial is not None and is_begun else 0, row["size"]):
            yield row, place


def _position(row: asyncpg.Record, place: int = 0) -> EventPosition:
    return EventPosition(row["generation"], row["xid"], row["part"], place)


async def records_of(database: Database, ids: list[UUID]) -> dict[UUID, ReportRecord]:
    """Read reports by their ids; some may have been erased."""
    if not ids:
        return {}
    times = [instant_of(one) for one in ids]
    # The log itself is read on the primary, because a standby knows no list of running transactions.
    rows = await database.fetch_committed(_REPORTS, times, ids, min(times), max(times))
    return {record.id: record for record in (to_record(row.values()) for row in rows)}


def _to_events(
    cursor: Cursor,
    snapshot: Snapshot,
    page: Iterable[tuple[asyncpg.Record, int]],
    records: Mapping[UUID, ReportRecord],
    sessions: Mapping[UUID, SessionMembers],
) -> Iterator[StoredEvent | None]:
    for row, places in groupby(page, key=itemgetter(0)):
        begun = cursor.after(_position(row), snapshot)
        stem = begun.stem
        for _, place in places:
            what = records.get(row["report_ids"][place]) if row["report_ids"] else _other(row, sessions)
            yield None if what is None else StoredEvent(place, begun, stem, what)


def _other(row: asyncpg.Record, sessions: Mapping[UUID, SessionMembers]) -> OtherEvent:
    columns = {name: row[name] for name in OtherEvent._fields if name != "session"}
    return OtherEvent(**columns, session=sessions.get(row["session_id"]))
