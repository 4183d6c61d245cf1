"""Deletes expired data while ingest goes on: whole days are dropped, the rest goes in small steps."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.observability import metrics
from app.storage import partitions
from app.storage.clock import TOLERATED_SKEW
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.device_register import NOTHING_KEPT
from app.storage.driver_errors import LockNotAvailable

log = structlog.get_logger()

OnStep = Callable[[str, int], None]

BATCH = 2_000
_LOCK = 0x6C6F_6361_7465_0002
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredRows:
    """A table whose rows are deleted when they are too old.

    Attributes:
        old: The condition on rows to delete, in SQL; `$1` is the instant before which they are too old.
        weight: How many times fewer are deleted at a time, because rows of other tables go with each.
    """

    table: str
    old: str
    weight: int = 1


_STEPS: Mapping[str, tuple[ExpiredRows, ...]] = {
    # A report that arrived long ago is removed even if its provider dated it into the future.
    "reports": (
        ExpiredRows(table="reports_default", old="at < $1 OR received_at < $1"),
        ExpiredRows(table="positions", old="at < $1"),
        ExpiredRows(table="undated_reports", old="at < $1"),
        ExpiredRows(table="account_aliases", old="learned_at < $1"),
        ExpiredRows(table="devices", old=f"seen_at < $1 AND {NOTHING_KEPT}"),
    ),
    "callbacks": (ExpiredRows(table="callbacks_default", old="received_at < $1"),),
    "audit": (ExpiredRows(table="audit_default", old="at < $1"),),
    "events": (ExpiredRows(table="events_default", old="stored_at < $1"),),
    "deliveries": (ExpiredRows(table="deliveries_default", old="created_at < $1"),),
    # An unknown session is removed when it would have ended.
    "sessions": (
        ExpiredRows(
            table="sessions", old="coalesce(ended_at, CASE state WHEN 'unknown' THEN ends_at END) < $1", weight=100
        ),
    ),
}

_NOTE_DROPPED_EVENTS = """
UPDATE event_generations AS g SET dropped_xid = greatest(g.dropped_xid, old.xid)
FROM (SELECT generation, max(xid) AS xid FROM events WHERE stored_at < $1 GROUP BY generation) AS old
WHERE g.generation = old.generation
"""
"""Readers whose cursors are older learn that they have missed something."""

_NOW_AND_NEWEST = """
SELECT
    clock_timestamp() AS now,
    coalesce(
        greatest((SELECT max(received_at) FROM callbacks), (SELECT max(at) FROM audit)),
        (SELECT max(created_at) FROM sessions)
    ) AS newest
"""


async def run(
    database: Database, ages: Mapping[str, timedelta], on_step: OnStep = lambda _table, _count: None
) -> dict[str, int]:
    """Remove what is older than `ages` allows by the database's clock; log and return the numbers of rows, by table.

    Nothing is removed while the clocks of this machine and of the database differ by more than a minute: one of them
    is wrong, and what is deleted cannot be had again.

    Args:
        on_step: Called with the table and the number of rows, or of whole days, of each step.
    """
    if not ages:
        return {}
    await database.compare_clocks()
    if abs(database.clock.skew) > TOLERATED_SKEW:
        log.error("nothing deleted: clocks differ", seconds_ahead_of_database=database.clock.skew.total_seconds())
        return {}
    async with database.connection() as connection:
        now = await _present(connection, database.clock.watched_for())
        removed = await carry_out(connection, ages, now, on_step=on_step)
    for table, count in removed.items():
        metrics.RETIRED.labels(table).inc(count)
    if removed:
        log.info("retention carried out", removed=removed)
    return removed


async def _present(connection: Connection, watched_for: timedelta) -> datetime:
    """Return the instant that ages are counted from.

    A clock may jump with everything that is compared with it. So the present is never later than the newest row and
    the time that this process has lived through since it began; an idle gateway still deletes on time.
    """
    row = await connection.fetchrow(_NOW_AND_NEWEST)
    assert row is not None
    now: datetime = row["now"]
    newest: datetime | None = row["newest"]
    return now if newest is None else min(now, newest + watched_for)


async def carry_out(
    connection: Connection,
    ages: Mapping[str, timedelta],
    now: datetime,
    *,
    batch: int = BATCH,
    on_step: OnStep = lambda _table, _count: None,
) -> dict[str, int]:
    """Remove what is older than `ages` allows for its kind; return the numbers of rows, by table.

    Only one process does it at a time; the others return at once, and when it dies its lock goes with its connection.
    A day goes as a whole, once all of it is too old; of merged days, those that are too old go row by row.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        return {}
    removed: dict[str, int] = {}
    try:
        # The trigger on audit lets only housekeeping delete rows.
        await connection.execute("SET gateway.keeping_house = 'on'")
        for kind, age in ages.items():
            before = now - age
            if kind == "events":
                await connection.execute(_NOTE_DROPPED_EVENTS, before)
            if kind in partitions.PARTITIONED:
                removed[f"{kind}_days"] = await _drop_days(connection, kind, before, on_step)
                removed[kind] = await _delete_days(connection, kind, before, batch, on_step)
            for step in _STEPS.get(kind, ()):
                removed[step.table] = await _delete(connection, step, before, batch, on_step)
    finally:
        await connection.execute("RESET gateway.keeping_house")
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return {name: count for name, count in removed.items() if count}


async def _drop_days(connection: Connection, table: str, before: datetime, on_step: OnStep) -> int:
    dropped = 0
    for partition in await partitions.partitions_of(connection, table):
        if partition.span.end > before:
            break
        for _ in range(_TRIES):
            if await _drop(connection, partition.name):
                dropped += partition.span.days
                on_step(f"{table}_days", partition.span.days)
                break
            await asyncio.sleep(0.1)
        else:
            log.warning("partition in use, dropped at the next run", partition=partition.name)
    return dropped


async def _delete_days(connection: Connection, table: str, before: datetime, batch: int, on_step: OnStep) -> int:
    """Delete what is over in the partition that holds younger days as well."""
    midnight = partitions.day_of(before)
    for partition in await partitions.partitions_of(connection, table):
        if partition.span.start < midnight < partition.span.end:
            step = ExpiredRows(table=partition.name, old=f"{partitions.PARTITIONED[table]} < $1")
            return await _delete(connection, step, midnight, batch, lambda _, count: on_step(table, count))
    return 0


async def _drop(connection: Connection, name: str) -> bool:
    # Waiting for this lock blocks all later statements on the table; so wait only for a moment.
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{partitions.LOCK_WAIT}'")
            await connection.execute(f"DROP TABLE {name}")
    except LockNotAvailable:
        return False
    return True


async def _delete(connection: Connection, step: ExpiredRows, before: datetime, batch: int, on_step: OnStep) -> int:
    deleted, most = 0, max(1, batch // step.weight)
    while True:
        done = await connection.execute(
            f"DELETE FROM {step.table} WHERE ctid = ANY (ARRAY("  # noqa: S608 -- our own constants
            f"SELECT ctid FROM {step.table} WHERE {step.old} LIMIT {most}))",
            before,
        )
        count = int(done.rpartition(" ")[2])
        deleted += count
        on_step(step.table, count)
        if count < most:
            return deleted
