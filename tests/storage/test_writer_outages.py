"""The writer while its database is killed, restarted, and away for longer than it can wait."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from app.embedded_postgres import EmbeddedPostgres
from app.errors import Unavailable
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.writer import Entry, Writer
from tests.support.reports import NOON, located


@pytest.fixture
async def server(durable_postgres: Callable[..., EmbeddedPostgres]) -> EmbeddedPostgres:
    server = await asyncio.to_thread(durable_postgres)
    await upgrade(server.url)
    return server


def entry(number: int) -> Entry:
    return Entry(reports=(located(NOON - timedelta(seconds=number)),))


async def stored(url: str) -> int:
    database = Database(url)
    connection = await database.connect()
    try:
        found = await connection.fetchval("SELECT count(*) FROM reports")
        assert isinstance(found, int)
        return found
    finally:
        await connection.close()
        await database.aclose()


async def test_a_killed_database_loses_nothing_that_was_acknowledged(server: EmbeddedPostgres) -> None:
    acknowledged = 0
    async with server.watched(), Writer(Database(server.url).connect, patience_s=30).running() as writer:

        async def send(numbers: range) -> None:
            nonlocal acknowledged
            for number in numbers:
                await writer.submit(entry(number))
                acknowledged += 1

        async def kill() -> None:
            await asyncio.sleep(0.1)
            os.kill(server.pid, signal.SIGKILL)

        await asyncio.gather(kill(), *(send(range(start, 2000, 20)) for start in range(20)))

    assert acknowledged == await stored(server.url) == 2000


async def test_after_its_patience_it_says_so_and_recovers_by_itself(server: EmbeddedPostgres) -> None:
    async with Writer(Database(server.url).connect, patience_s=0.3).running() as writer:
        await writer.submit(entry(0))
        await asyncio.to_thread(server.stop)

        with pytest.raises(Unavailable):
            await writer.submit(entry(1))
        with pytest.raises(Unavailable) as refused:
            writer.submit(entry(2))

        await asyncio.to_thread(server.start)
        await _until_taken(writer, entry(3))

    assert refused.value.retry_after_s
    assert await stored(server.url) == 2


async def _until_taken(writer: Writer, one: Entry) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(Unavailable):
                await writer.submit(one)
                return
            await asyncio.sleep(0.05)


async def test_leaving_while_the_database_is_away_does_not_hang(server: EmbeddedPostgres) -> None:
    async with asyncio.timeout(10), Writer(Database(server.url).connect, patience_s=0.2).running() as writer:
        await writer.submit(entry(0))
        await asyncio.to_thread(server.stop)
        lost = writer.submit(entry(1))

    with pytest.raises(Unavailable):
        await lost
