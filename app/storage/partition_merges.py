"""Merges partitions as they age, days into weeks and weeks into months, so that years of days stay few partitions.

The rows are copied in small steps into a table of its own, while the old partitions are read and written as ever; a
trigger on them notes the keys of what changes. In the end old partitions and new one change places in one short
transaction, in which what was noted is copied once more. What is interrupted leaves nothing but tables and triggers,
which the next run removes.
"""

# ruff: noqa: S608 -- statements are put together from our own constants, and names that the database gives

import asyncio
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import structlog

from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.driver_errors import LockNotAvailable
from app.storage.partitions import (
    DAY,
    LOCK_WAIT,
    PARTITIONED,
    Partition,
    Span,
    day_of,
    make_day,
    partitions_of,
)

log = structlog.get_logger()

WEEKS_AFTER = timedelta(days=7)
MONTHS_AFTER = timedelta(days=35)
SHORT_LIVED = timedelta(days=70)
"""Tables whose rows are removed by then have few enough partitions, and go on losing them day by day."""
STEP = 5_000
SCAN_LOCK = 0x6C6F_6361_7465_0004
"""Held, shared, by those who go through the partitions of a table one by one."""
_RUN_LOCK = 0x6C6F_6361_7465_0003
_TRIES = 5
_MOST_NOTED = 20_000
_WEEKS = (1, 8, 15, 22)
"""The days of a month on which a week begins; the last one is longer, so that weeks add up to months."""
_TRIGGER = "note_changed_key"
_BRIEFLY = f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"
_BY_KEY = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_KEY = """
SELECT a.attname FROM pg_index AS i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY k.place
"""
_COLUMNS = """
SELECT quote_ident(attname) AS name FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) AS definition, indisprimary AS is_primary FROM pg_index
WHERE indrelid = $1::regclass ORDER BY indexrelid
"""
_LEFT_OVER = r"""
SELECT oid::regclass::text AS name FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND NOT relispartition
    AND relname ~ ('^' || $1 || '_merging_[0-9]{8}_[0-9]{8}(_changes)?$')
"""
_NOTING = """
SELECT tgrelid::regclass::text AS name FROM pg_trigger JOIN pg_inherits ON inhrelid = tgrelid
WHERE tgname = $2 AND inhparent = $1::regclass
"""


@dataclass(frozen=True, slots=True)
class Merge:
    """Partitions that become one."""

    span: Span
    parts: tuple[Partition, ...]


class _Abandoned(Exception):
    """A merge cannot be brought to its end now."""


async def run(database: Database, ages: Mapping[str, timedelta]) -> list[str]:
    """Carry out all merges that are due; return the names of the new partitions.

    Args:
        ages: How long rows are kept, by table; tables that are left out are kept for good.

    Raises:
        Unavailable: The database cannot be reached, or has not been migrated.
    """
    async with database.connection() as connection:
        return await carry_out(connection, ages, await connection.fetchval("SELECT clock_timestamp()"))


async def carry_out(
    connection: Connection, ages: Mapping[str, timedelta], now: datetime, *, step: int = STEP
) -> list[str]:
    """Carry out all merges that are due; only one process does it at a time, the others return at once."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _RUN_LOCK):
        return []
    made = []
    try:
        for table in PARTITIONED:
            age = ages.get(table)
            if age is not None and age <= SHORT_LIVED:
                continue
            made += await _merge(connection, table, now, None if age is None else now - age, step)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _RUN_LOCK)
    return made


async def _merge(
    connection: Connection, table: str, now: datetime, kept_since: datetime | None, step: int
) -> list[str]:
    made = []
    with suppress(_Abandoned):
        await _clear(connection, table)
        for merge in due(await partitions_of(connection, table), now, kept_since):
            made.append(await _Work(connection, table, merge.span, step).carry_out())  # noqa: PERF401 -- see `suppress`
    return made


def due(partitions: Sequence[Partition], now: datetime, kept_since: datetime | None) -> list[Merge]:
    """List the merges whose time has come, oldest first.

    Args:
        kept_since: Before this, partitions are waiting to be dropped.
    """
    merges: list[Merge] = []
    oldest = min((partition.span.start for partition in partitions), default=now)
    for length, after in (("month", MONTHS_AFTER), ("week", WEEKS_AFTER)):
        for span in _spans(length, oldest, now - after):
            if kept_since is not None and span.start < kept_since:
                continue
            parts = tuple(partition for partition in partitions if partition.span.overlaps(span))
            is_whole = all(span.holds(partition.span) for partition in parts)
            is_taken = any(merge.span.overlaps(span) for merge in merges)
            if is_whole and len(parts) > 1 and not is_taken:
                merges.append(Merge(span, parts))
    return sorted(merges, key=lambda merge: merge.span)


def _spans(length: str, oldest: datetime, until: datetime) -> Iterator[Span]:
    """List weeks or months from the one of an instant on, as far as they are over."""
    begins = _WEEKS if length == "week" else _WEEKS[:1]
    start = day_of(oldest).replace(day=1)
    while start < until:
        following = (start + timedelta(days=31)).replace(day=1)
        edges = [*(start.replace(day=day) for day in begins), following]
        yield from (Span(*span) for span in pairwise(edges) if span[1] <= until)
        start = following


async def _clear(connection: Connection, table: str) -> None:
    """Remove what an interrupted merge has left; the notes last, because as long as triggers are there they write."""
    for row in await connection.fetch(_NOTING, table, _TRIGGER):
        await _briefly(connection, f"DROP TRIGGER {_TRIGGER} ON {row['name']}")
    for row in await connection.fetch(_LEFT_OVER, table):
        await connection.execute(f"DROP TABLE {row['name']}")


async def _briefly(connection: Connection, statement: str) -> None:
    """Run a statement that keeps others out, and give up where it does not get its lock at once."""
    for _ in range(_TRIES):
        with suppress(LockNotAvailable):
            async with connection.transaction():
                await connection.execute(f"{_BRIEFLY}; {statement}")
            return
        await asyncio.sleep(0.1)
    raise _Abandoned


class _Work:
    """One merge.

    Args:
        step: How many rows are copied at a time.
    """

    def __init__(self, connection: Connection, table: str, span: Span, step: int) -> None:
        self._connection = connection
        self._table = table
        self._span = span
        self._step = step
        dates = f"{span.start:%Y%m%d}_{span.end:%Y%m%d}"
        self._name = f"{table}_{dates}"
        # Another name, so that nobody's detached partition is ever taken for what an interrupted merge has left.
        self._new = f"{table}_merging_{dates}"
        self._notes = f"{self._new}_changes"
        self._parts: list[Partition] = []
        self._columns = ""
        self._key = ""

    async def carry_out(self) -> str:
        """Do it; return the name of the new partition."""
        await self._fill_gaps()
        self._parts = [one for one in await partitions_of(self._connection, self._table) if self._span.holds(one.span)]
        self._columns = ", ".join(row["name"] for row in await self._connection.fetch(_COLUMNS, self._table))
        self._key = ", ".join(row["attname"] for row in await self._connection.fetch(_KEY, self._table))
        try:
            await self._begin()
            for part in self._parts:
                await self._copy(part)
            await self._index()
            await self._change_places()
        except _Abandoned:
            log.info("partitions in use, merged at another run", partition=self._name)
            await _clear(self._connection, self._table)
            raise
        log.info("partitions merged", partition=self._name, parts=len(self._parts))
        return self._name

    async def _fill_gaps(self) -> None:
        """Give days that have rows in the default partition alone partitions of their own."""
        column = PARTITIONED[self._table]
        while True:
            covered = await partitions_of(self._connection, self._table)
            conditions = [self._span.condition(column)]
            conditions += [f"NOT ({one.span.condition(column)})" for one in covered if self._span.holds(one.span)]
            first = await self._connection.fetchval(
                f"SELECT min({column}) FROM {self._table}_default WHERE {' AND '.join(conditions)}"
            )
            if first is None:
                return
            day = Span(day_of(first), day_of(first) + DAY)
            if await make_day(self._connection, self._table, day) is None:
                raise _Abandoned

    async def _begin(self) -> None:
        """Make the new table, and let what changes from now on be noted."""
        condition = self._span.condition(PARTITIONED[self._table])
        key = ", ".join(f"changed.{name}" for name in self._key.split(", "))
        await self._connection.execute(
            f"CREATE TABLE {self._new} (LIKE {self._table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE,"
            f" CONSTRAINT merged CHECK ({condition}))"
        )
        await self._connection.execute(f"CREATE TABLE {self._notes} AS SELECT {self._key} FROM {self._table} LIMIT 0")
        for part in self._parts:
            await _briefly(
                self._connection,
                f"CREATE TRIGGER {_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {part.name} "
                f"FOR EACH ROW EXECUTE FUNCTION {_TRIGGER}('{self._notes}', '{key}')",
            )

    async def _copy(self, part: Partition) -> None:
        count = len(self._key.split(", "))
        last: tuple[Any, ...] | None = None
        while True:
            begun = time.monotonic()
            follows = f"WHERE ({self._key}) > ({', '.join(f'${n + 1}' for n in range(count))})" if last else ""
            copied = await self._connection.fetch(
                f"WITH copied AS (INSERT INTO {self._new} ({self._columns}) SELECT {self._columns} FROM {part.name} "
                f"{follows} ORDER BY {self._key} LIMIT {self._step} RETURNING {self._key}) "
                f"SELECT count(*) OVER () AS count, {self._key} FROM copied ORDER BY {_descending(self._key)} LIMIT 1",
                *(last or ()),
            )
            if not copied or copied[0]["count"] < self._step:
                return
            last = tuple(copied[0].values())[1:]
            # No more than half of the time, so that there is room for those who are in a hurry.
            await asyncio.sleep(time.monotonic() - begun)

    async def _index(self) -> None:
        """Make the indexes that the table has, and the statistics that plans are made of."""
        for row in await self._connection.fetch(_INDEXES, self._table):
            if row["is_primary"]:
                await self._connection.execute(f"ALTER TABLE {self._new} ADD PRIMARY KEY ({self._key})")
                continue
            definition = re.sub(r"INDEX \S+ ON ONLY \S+", f"INDEX ON {self._new}", row["definition"])
            await self._connection.execute(definition)
        await self._connection.execute(f"VACUUM (ANALYZE) {self._new}")

    async def _change_places(self) -> None:
        parts = ", ".join(part.name for part in self._parts)
        statements = [
            # Readers of the whole table hold this lock as long as they read; whoever comes now waits for us.
            f"LOCK TABLE ONLY {self._table} IN ACCESS EXCLUSIVE MODE",
            f"LOCK TABLE {parts} IN ACCESS EXCLUSIVE MODE",
            *self._catch_up(),
            *(f"ALTER TABLE {self._table} DETACH PARTITION {part.name}" for part in self._parts),
            f"ALTER TABLE {self._table} ATTACH PARTITION {self._new} FOR VALUES {self._span.bounds()}",
            f"ALTER TABLE {self._new} DROP CONSTRAINT merged",
            f"ALTER TABLE {self._new} RENAME TO {self._name}",
            f"DROP TABLE {parts}, {self._notes}",
        ]
        for _ in range(_TRIES):
            noted = await self._connection.fetchval(f"SELECT count(*) FROM {self._notes}")
            with suppress(LockNotAvailable):
                if noted <= _MOST_NOTED and await self._in_one_go(statements):
                    return
            await asyncio.sleep(0.2)
        raise _Abandoned

    async def _in_one_go(self, statements: Sequence[str]) -> bool:
        async with self._connection.transaction():
            if not await self._connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", SCAN_LOCK):
                return False
            await self._connection.execute("; ".join([_BRIEFLY, _BY_KEY, *statements]))
        return True

    def _catch_up(self) -> list[str]:
        """Copy once more what has been noted."""
        noted = f"({self._key}) IN (SELECT {self._key} FROM {self._notes})"
        return [
            f"DELETE FROM {self._new} WHERE {noted}",
            *(
                f"INSERT INTO {self._new} ({self._columns}) SELECT {self._columns} FROM {part.name} WHERE {noted}"
                for part in self._parts
            ),
        ]


def _descending(key: str) -> str:
    return ", ".join(f"{name} DESC" for name in key.split(", "))
