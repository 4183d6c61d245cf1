"""Reading everything that matches, in constant memory."""

import asyncio
import gc
import tracemalloc
from contextlib import aclosing
from datetime import timedelta

import pytest

from app.errors import Unavailable
from app.storage import reports
from app.storage.database import Database
from app.storage.reports import ReportFilter
from tests.support.reports import IMEI, NOON, generate, located, minutes, store

OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def peak_bytes(database: Database, wanted: ReportFilter) -> int:
    async with aclosing(reports.export(database, wanted)) as batches:
        await anext(batches)
        gc.collect()
        tracemalloc.start()
        try:
            async for _ in batches:
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


async def test_an_export_holds_everything_that_matches_newest_first(database: Database) -> None:
    await store(database, *[located(at) for at in minutes(30)], located(transaction="t-2"))

    async with aclosing(reports.export(database, ReportFilter(transaction_id="t-1"))) as batches:
        times = [report.at async for batch in batches for report in batch]

    assert times == list(minutes(30))


async def test_an_export_of_a_device_known_under_several_keys_is_in_order(database: Database) -> None:
    await store(database, *[located(at, imei=None) for at in list(minutes(10))[::2]])
    await store(database, *[located(at) for at in list(minutes(10))[1::2]])

    async with aclosing(reports.export(database, ReportFilter(device_id=IMEI))) as batches:
        times = [report.at async for batch in batches for report in batch]

    assert times == list(minutes(10))


async def test_an_export_of_what_cannot_match_is_empty(database: Database) -> None:
    async with aclosing(reports.export(database, ReportFilter(device_id=IMEI, mdn="5085550999"))) as batches:
        assert [batch async for batch in batches] == []


async def test_an_export_shows_the_moment_at_which_it_began(database: Database) -> None:
    await generate(database, 3000)

    async with aclosing(reports.export(database, ReportFilter())) as batches:
        count = len(await anext(batches))
        await store(database, *[located(at) for at in minutes(100)])
        async for batch in batches:
            count += len(batch)

    assert count == 3000


async def test_memory_does_not_grow_with_the_number_of_rows(database: Database) -> None:
    await generate(database, 20_000)

    few = await peak_bytes(database, ReportFilter(since=NOON - timedelta(seconds=40_000)))
    many = await peak_bytes(database, ReportFilter())

    assert many < 2 * few


async def test_an_export_that_is_left_lets_go_of_its_connection(database: Database) -> None:
    await generate(database, 3000)
    connection = await database.connect()

    async with aclosing(reports.export(database, ReportFilter())) as batches:
        await anext(batches)
        during = await connection.fetchval(OTHERS)

    async with asyncio.timeout(10):
        while await connection.fetchval(OTHERS) >= during:  # noqa: ASYNC110 -- the server does not tell us
            await asyncio.sleep(0.01)
    await connection.close()


async def test_a_database_that_goes_away_ends_the_export_with_an_error(database: Database) -> None:
    await generate(database, 3000)
    connection = await database.connect()

    async with aclosing(reports.export(database, ReportFilter())) as batches:
        await anext(batches)
        await connection.fetchval(TERMINATE)
        with pytest.raises(Unavailable):
            async for _ in batches:
                pass
    await connection.close()
