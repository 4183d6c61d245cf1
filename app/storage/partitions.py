"""Day partitions of reports, callbacks, audit and events: made ahead of time, and dropped when their days are over."""

import re
from datetime import UTC, date, datetime, timedelta

from app.ids import EPOCH
from app.storage.connections import Connection
from app.storage.database import Database

PARTITIONED = {"reports": "at", "callbacks": "received_at", "audit": "at", "events": "stored_at"}
DAYS_BEHIND = 1
DAYS_AHEAD = 3
_LOCK = 0x6C6F_6361_7465_0001


async def keep(database: Database) -> None:
    """Make the partitions of the days around the database's present that are missing.

    Raises:
        Unavailable: The database cannot be reached, or has not been migrated.
    """
    async with database.connection() as connection:
        await keep_ready(connection, await connection.fetchval("SELECT clock_timestamp()"))


async def keep_ready(connection: "Connection", now: datetime) -> list[str]:
    """Make the partitions of the days around `now` that are missing; return their names.

    Rows of such a day that already went to the default partition are moved. Safe to run in many processes.
    """
    today = now.astimezone(UTC).date()
    made = []
    for offset in range(-DAYS_BEHIND, DAYS_AHEAD + 1):
        for table, column in PARTITIONED.items():
            day = today + timedelta(days=offset)
            if await _make(connection, table, column, day):
                made.append(_name(table, day))
    return made


async def days_before(connection: "Connection", table: str, instant: datetime) -> list[str]:
    """Name the partitions of a table whose days were over at an instant, oldest first."""
    names = await connection.fetch(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass($1) ORDER BY c.relname",
        table,
    )
    today = _name(table, instant.astimezone(UTC).date())
    dated = re.compile(rf"{table}_[0-9]{{8}}")
    return [row["relname"] for row in names if dated.fullmatch(row["relname"]) and row["relname"] < today]


def _name(table: str, day: date) -> str:
    return f"{table}_{day:%Y%m%d}"


async def _is_there(connection: "Connection", name: str) -> bool:
    # Not by `to_regclass`: it may still remember that there was no such table before the lock was waited for.
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relnamespace = current_schema()::regnamespace)",
        name,
    )
    return found


async def _make(connection: "Connection", table: str, column: str, day: date) -> bool:
    name = _name(table, day)
    if await _is_there(connection, name):
        return False
    start = EPOCH + timedelta(days=(day - EPOCH.date()).days)
    end = start + timedelta(days=1)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await _is_there(connection, name):
            return False
        # Audit rows may only be moved by those who say that they keep the house.
        await connection.execute("SET LOCAL gateway.keeping_house = 'on'")
        # Table and column names are our own constants, and a day has digits only.
        await connection.execute(
            f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)"
        )
        await connection.execute(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE")
        bounds = f"{column} >= '{start.isoformat()}' AND {column} < '{end.isoformat()}'"
        await connection.execute(
            f"WITH moved AS (DELETE FROM {table}_default WHERE {bounds} RETURNING *) "  # noqa: S608 -- see above
            f"INSERT INTO {name} SELECT * FROM moved"
        )
        await connection.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
        )
    return True
