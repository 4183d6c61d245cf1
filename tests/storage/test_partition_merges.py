"""Partitions are merged as they age, while everybody goes on reading and writing, and no row is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.storage import partition_merges, partitions, retention
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.partitions import DAY, Partition, Span
from tests.support.reports import located, store

NOW = datetime(2026, 7, 10, 12, tzinfo=UTC)
SPRING = datetime(2026, 3, 1, tzinfo=UTC)
LONG = timedelta(days=400)
WHOLE = "SELECT array_agg(r::text ORDER BY at, id) FROM reports AS r"


def days(start: datetime, count: int) -> list[Partition]:
    return [Partition(f"d{n}", Span(start + n * DAY, start + (n + 1) * DAY)) for n in range(count)]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


async def make_days(connection: Connection, start: datetime, count: int) -> None:
    for day in days(start, count):
        await partitions.make_day(connection, "reports", day.span)


async def spans(connection: Connection) -> list[int]:
    return [partition.span.days for partition in await partitions.partitions_of(connection, "reports")]


async def left_over(connection: Connection) -> int:
    tables = "SELECT count(*) FROM pg_class WHERE relname ~ '^reports_merging' AND relkind = 'r'"
    count: int = await connection.fetchval(tables)
    triggers: int = await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = 'note_changed_key'")
    return count + triggers


def test_a_year_of_days_becomes_few_partitions() -> None:
    year = days(partitions.day_of(NOW - timedelta(days=364)), 365 + partitions.DAYS_AHEAD)

    merges = partition_merges.due(year, NOW, None)

    left = len(year) - sum(len(merge.parts) - 1 for merge in merges)
    assert left <= 45
    assert [merge.span.start for merge in merges] == sorted(merge.span.start for merge in merges)
    assert not any(one.span.overlaps(other.span) for one in merges for other in merges if one is not other)


def test_the_days_of_the_last_week_stay() -> None:
    merges = partition_merges.due(days(NOW.replace(day=1, hour=0), 12), NOW, None)

    assert merges == []


def test_what_is_about_to_be_dropped_is_not_merged() -> None:
    merges = partition_merges.due(days(SPRING, 120), NOW, SPRING + timedelta(days=35))

    assert min(merge.span.start for merge in merges) == SPRING + timedelta(days=38)


def test_what_is_merged_is_merged_once() -> None:
    month = Partition("month", Span(SPRING, SPRING + timedelta(days=31)))

    assert partition_merges.due([month], NOW, None) == []


async def test_days_become_a_month_with_the_same_rows_and_indexes(database: Database, connection: Connection) -> None:
    await make_days(connection, SPRING, 4)
    await store(database, *(located(SPRING + timedelta(minutes=36 * number), flags=["late"]) for number in range(150)))
    before = await connection.fetchval(WHOLE)

    made = await partition_merges.carry_out(connection, {}, NOW, step=20)

    assert made == ["reports_20260301_20260401"]
    assert await connection.fetchval(WHOLE) == before
    assert await spans(connection) == [31]
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass AND indisvalid"
    assert await connection.fetchval(indexes, made[0]) == await connection.fetchval(indexes, "reports")
    assert await left_over(connection) == 0
    assert await partition_merges.carry_out(connection, {}, NOW) == []


async def test_a_day_that_was_never_made_comes_out_of_the_default_partition(
    database: Database, connection: Connection
) -> None:
    await make_days(connection, SPRING, 3)
    await store(database, *(located(SPRING + day * DAY) for day in range(6)))
    before = await connection.fetchval(WHOLE)

    await partition_merges.carry_out(connection, {}, NOW)

    assert await spans(connection) == [31]
    assert await connection.fetchval(WHOLE) == before
    assert await connection.fetchval("SELECT count(*) FROM ONLY reports_default") == 0


async def test_what_changes_meanwhile_is_not_lost(database: Database, connection: Connection) -> None:
    await make_days(connection, SPRING, 4)
    times = [SPRING + timedelta(minutes=14 * number) for number in range(400)]
    await store(database, *map(located, times))
    other = await database.connect()
    merging = asyncio.create_task(partition_merges.carry_out(connection, {}, NOW, step=5))

    changed = 0
    while not merging.done():
        at = times[changed % len(times)]
        await other.execute("UPDATE reports SET qos_met = true WHERE at = $1", at)
        await other.execute("DELETE FROM reports WHERE at = $1", times[-1 - changed % 100])
        await store(database, located(at + timedelta(seconds=1 + changed)))
        changed += 1
    before = await other.fetch("SELECT at, qos_met FROM reports ORDER BY at, id")

    assert await merging == ["reports_20260301_20260401"]
    assert changed > 3
    assert await other.fetch("SELECT at, qos_met FROM reports_20260301_20260401 ORDER BY at, id") == before
    assert sum(row["qos_met"] is True for row in before) == min(changed, 300)
    assert len(before) == 400 + changed - min(changed, 100)
    await other.close()


async def test_a_merge_waits_for_no_reader_and_is_put_off(database: Database, connection: Connection) -> None:
    await make_days(connection, SPRING, 4)
    await store(database, located(SPRING))
    reader = await database.connect()
    async with reader.transaction():
        await reader.fetch("SELECT * FROM reports")
        nothing = await partition_merges.carry_out(connection, {}, NOW)
    await reader.close()

    assert nothing == []
    assert await partition_merges.carry_out(connection, {}, NOW) == ["reports_20260301_20260401"]
    assert await left_over(connection) == 0


async def test_what_a_killed_merge_leaves_is_removed(database: Database, connection: Connection) -> None:
    await make_days(connection, SPRING, 4)
    await store(database, *(located(SPRING + timedelta(minutes=8 * number)) for number in range(700)))
    killed = await database.connect()
    merging = asyncio.create_task(partition_merges.carry_out(killed, {}, NOW, step=5))
    # The first try finds nothing, and fails with the one that is killed.
    async with asyncio.timeout(20):
        while not await left_over(connection):  # noqa: ASYNC110 -- it happens in the database
            await asyncio.sleep(0.01)
    killed.terminate()
    await asyncio.gather(merging, return_exceptions=True)

    made: list[str] = []
    while not made:
        made = await partition_merges.carry_out(connection, {}, NOW)

    assert made == ["reports_20260301_20260401"]
    assert await left_over(connection) == 0
    assert await connection.fetchval("SELECT count(*) FROM reports") == 700


async def test_a_partition_that_somebody_has_detached_is_left_alone(database: Database, connection: Connection) -> None:
    await make_days(connection, SPRING, 4)
    await store(database, located(SPRING))
    await partition_merges.carry_out(connection, {}, NOW)
    await connection.execute("ALTER TABLE reports DETACH PARTITION reports_20260301_20260401")

    await partition_merges.carry_out(connection, {}, NOW)

    assert await connection.fetchval("SELECT count(*) FROM reports_20260301_20260401") == 1


async def test_the_audit_trail_is_merged_and_stays_append_only(connection: Connection) -> None:
    for day in days(SPRING, 4):
        await partitions.make_day(connection, "audit", day.span)
    for number in range(3):
        await connection.execute(
            "INSERT INTO audit (at, id, key_id, request_id, action, outcome) "
            "VALUES ($1, gen_random_uuid(), 'k', 'r', 'locate', 'located')",
            SPRING + number * DAY,
        )

    made = await partition_merges.carry_out(connection, {}, NOW)

    assert made == ["audit_20260301_20260401"]
    assert await connection.fetchval("SELECT count(*) FROM audit") == 3
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM audit")


async def test_tables_that_lose_their_rows_soon_keep_their_days(connection: Connection) -> None:
    await make_days(connection, SPRING, 4)

    assert await partition_merges.carry_out(connection, {"reports": timedelta(days=30)}, NOW) == []


async def test_retention_removes_the_old_days_of_a_month_and_drops_it_in_the_end(
    database: Database, connection: Connection
) -> None:
    await make_days(connection, SPRING, 4)
    await store(database, *(located(SPRING + timedelta(hours=12 * half)) for half in range(62)))
    await partition_merges.carry_out(connection, {}, NOW)

    removed = await retention.carry_out(connection, {"reports": LONG}, SPRING + LONG + 10.75 * DAY, batch=7)
    again = await retention.carry_out(connection, {"reports": LONG}, SPRING + LONG + 10.75 * DAY)
    finally_removed = await retention.carry_out(connection, {"reports": LONG}, SPRING + LONG + 31 * DAY)

    assert (removed["reports"], again) == (20, {})
    assert finally_removed["reports_days"] == 31
