"""Partitions: of days ahead of time, merged as they age, dropped in the end."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import structlog

from app.ids import EPOCH
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.driver_errors import LockNotAvailable

log = structlog.get_logger()

PARTITIONED = {
    "reports": "at",
    "callbacks": "received_at",
    "audit": "at",
    "events": "stored_at",
    "deliveries": "created_at",
}
DAYS_BEHIND = 1
DAYS_AHEAD = 3
DAY = timedelta(days=1)
LOCK_WAIT = "300ms"
"""How long to wait for a lock that keeps others out: who comes after the one that waits, waits behind it."""
_LOCK = 0x6C6F_6361_7465_0001
_PARTITIONS = r"""
SELECT c.oid::regclass::text AS name, found[1]::timestamptz AS start, found[2]::timestamptz AS end
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
CROSS JOIN regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') AS found
WHERE inhparent = to_regclass($1) AND found IS NOT NULL
ORDER BY 2
"""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A span of time; the end is not part of it."""

    start: datetime
    end: datetime

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days

    def overlaps(self, other: "Span") -> bool:
        """Whether some instant is part of both."""
        return self.start < other.end and other.start < self.end

    def holds(self, other: "Span") -> bool:
        """Whether all of another span is part of this one."""
        return self.start <= other.start and other.end <= self.end

    def condition(self, column: str) -> str:
        """Write the condition that an instant is part of it."""
        return f"{column} >= '{self.start.isoformat()}' AND {column} < '{self.end.isoformat()}'"

    def bounds(self) -> str:
        """Write it as the bounds of a partition."""
        return f"FROM ('{self.start.isoformat()}') TO ('{self.end.isoformat()}')"


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of a table, but for the default one."""

    name: str
    span: Span


async def keep(database: Database) -> None:
    """Make the partitions of the days around the database's present that are missing.

    Raises:
        Unavailable: The database cannot be reached, or has not been migrated.
    """
    async with database.connection() as connection:
        await keep_ready(connection, await connection.fetchval("SELECT clock_timestamp()"))


async def keep_ready(connection: "Connection", now: datetime) -> list[str]:
    """Make the partitions of the days around `now` that are missing; return their names.

    Rows of such a day that already went to the default partition are moved. Safe to run in many processes. A day whose
    default partition is being read for long is left for the next run.
    """
    today = day_of(now)
    made = []
    for offset in range(-DAYS_BEHIND, DAYS_AHEAD + 1):
        for table in PARTITIONED:
            name = await make_day(connection, table, Span(today + offset * DAY, today + (offset + 1) * DAY))
            if name is not None:
                made.append(name)
    return made


async def partitions_of(connection: "Connection", table: str) -> list[Partition]:
    """List the partitions of a table, oldest first."""
    rows = await connection.fetch(_PARTITIONS, table)
    return [Partition(row["name"], Span(row["start"], row["end"])) for row in rows]


def day_of(instant: datetime) -> datetime:
    """Find the beginning of a day."""
    return start_of(instant.astimezone(UTC).date())


def start_of(day: date) -> datetime:
    """Find the beginning of a day."""
    return EPOCH + timedelta(days=(day - EPOCH.date()).days)


async def make_day(connection: "Connection", table: str, day: Span) -> str | None:
    """Make the partition of a day; return its name, or None where there is one already, or no lock to be had."""
    if await _is_covered(connection, table, day):
        return None
    name = f"{table}_{day.start:%Y%m%d}"
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if await _is_covered(connection, table, day):
                return None
            await _make(connection, table, name, day)
    except LockNotAvailable:
        log.warning("default partition in use, day made at the next run", partition=name)
        return None
    return name


async def _is_covered(connection: "Connection", table: str, span: Span) -> bool:
    return any(partition.span.overlaps(span) for partition in await partitions_of(connection, table))


async def _make(connection: "Connection", table: str, name: str, day: Span) -> None:
    # The trigger on audit lets only housekeeping move rows.
    await connection.execute(f"SET LOCAL gateway.keeping_house = 'on'; SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    # Table and column names are our own constants, and a day has digits only.
    await connection.execute(
        f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
    )
    await connection.execute(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")
    await connection.execute(
        f"WITH moved AS (DELETE FROM {table}_default WHERE {day.condition(PARTITIONED[table])} RETURNING *) "  # noqa: S608 -- see above
        f"INSERT INTO {name} SELECT * FROM moved"
    )
    await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {day.bounds()}")
