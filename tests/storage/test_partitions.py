"""Day partitions: there before they are needed, made once, and no row lost on the way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from app.storage import partitions
from app.storage.connections import Connection
from app.storage.database import Database
from tests.support.reports import located, store

NOW = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
DAYS = ["20260301", "20260302", "20260303", "20260304", "20260305"]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


async def test_the_days_around_now_are_made(connection: Connection) -> None:
    made = await partitions.keep_ready(connection, NOW)

    assert sorted(made) == sorted(f"{table}_{day}" for table in partitions.PARTITIONED for day in DAYS)


async def test_what_is_there_is_not_made_again(connection: Connection) -> None:
    await partitions.keep_ready(connection, NOW)

    assert await partitions.keep_ready(connection, NOW) == []
    assert len(await partitions.keep_ready(connection, NOW + timedelta(days=1))) == len(partitions.PARTITIONED)


async def test_the_day_is_that_of_utc(connection: Connection) -> None:
    late = NOW.astimezone(datetime.strptime("+0500", "%z").tzinfo)

    made = await partitions.keep_ready(connection, late)

    assert f"reports_{DAYS[-1]}" in made
    assert "reports_20260306" not in made


async def test_rows_that_came_before_their_day_was_made_are_moved(database: Database, connection: Connection) -> None:
    await store(database, located(NOW), located(NOW - timedelta(days=400)))
    assert await connection.fetchval("SELECT count(*) FROM reports_default") == 2

    await partitions.keep_ready(connection, NOW)

    assert await connection.fetchval("SELECT count(*) FROM reports_20260302") == 1
    assert await connection.fetchval("SELECT count(*) FROM reports_default") == 1
    assert await connection.fetchval("SELECT count(*) FROM reports") == 2


async def test_new_rows_go_to_their_day(database: Database, connection: Connection) -> None:
    await partitions.keep_ready(connection, NOW)

    await store(database, located(NOW), located(NOW))

    assert await connection.fetchval("SELECT count(*) FROM reports_20260302") == 1


async def test_many_processes_may_do_it_at_once(database: Database) -> None:
    connections = [await database.connect() for _ in range(4)]

    made = await asyncio.gather(*(partitions.keep_ready(connection, NOW) for connection in connections))

    assert sorted(name for names in made for name in names) == sorted(
        f"{table}_{day}" for table in partitions.PARTITIONED for day in DAYS
    )
    for connection in connections:
        await connection.close()


async def test_days_before_1970_and_after_have_names_too(connection: Connection) -> None:
    made = await partitions.keep_ready(connection, datetime(1970, 1, 1, tzinfo=UTC))

    assert "reports_19691231" in made
