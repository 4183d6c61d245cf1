"""Batches that wait, and answers that get lost: nobody is told too early, and nothing is stored twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest
from sqlalchemy import text

from app.embedded_postgres import EmbeddedPostgres
from app.errors import Unavailable
from app.ids import new_id
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.rows import NewCallback
from app.storage.writer import Entry, Writer
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, located
from tests.support.waiting import until

LOST = asyncpg.ConnectionDoesNotExistError("lost")

Hook = Callable[[Connection], Awaitable[None]]


async def nothing(_: Connection) -> None:
    """Let things take their course."""


class Wire:
    """Connections on which a test can interfere.

    Attributes:
        stored: How many entries each statement stored, or tried to.
        before_store: Called before a batch is stored.
        after_store: Called after a batch is stored; what it raises takes the place of the answer.
        on_connect: What a new connection is told first.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.stored: list[int] = []
        self.before_store: Hook = nothing
        self.after_store: Hook = nothing
        self.on_connect: Hook = nothing

    async def connect(self) -> Any:
        """Open a connection, for the writer."""
        connection = await self._database.connect()
        await self.on_connect(connection)
        return _Interfering(connection, self)


class _Interfering:
    def __init__(self, connection: Connection, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        self._wire.stored.append(len(arguments[0]))
        await self._wire.before_store(self._connection)
        answer = await self._connection.fetchrow(query, *arguments)
        await self._wire.after_store(self._connection)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Counts(NamedTuple):
    reports: int
    callbacks: int
    received: int


async def counts(database: Database) -> Counts:
    """Count everything that an entry adds to."""
    async with database.transaction() as session:
        found = await session.execute(
            text(
                "SELECT (SELECT count(*) FROM reports), (SELECT count(*) FROM callbacks), "
                "(SELECT sum(received) FROM session_devices)"
            )
        )
        return Counts(*found.one())


async def vanish(database: Database) -> None:
    """Take back what was stored, as a crash does with what is not flushed."""
    async with database.transaction() as session:
        for statement in (
            "DELETE FROM reports",
            "DELETE FROM callbacks",
            "DELETE FROM positions",
            "DELETE FROM account_aliases",
            "UPDATE session_devices SET received = 0, mdn = NULL, last_at = NULL, last_report_id = NULL",
        ):
            await session.execute(text(statement))


def failing(times: int = 1, meanwhile: Callable[[], Awaitable[None]] | None = None) -> Hook:
    """Make a hook that fails so many times, after something else has happened."""
    left = [LOST] * times

    async def fail(_: Connection) -> None:
        if left:
            error = left.pop()
            if meanwhile is not None:
                await meanwhile()
            raise error

    return fail


def held() -> tuple[Hook, asyncio.Event]:
    """Make a hook that waits until it is let go."""
    let_go = asyncio.Event()

    async def wait(_: Connection) -> None:
        await let_go.wait()

    return wait, let_go


def entry(number: int, *, mdn: str | None = MDN) -> Entry:
    callback = NewCallback(
        id=new_id(NOON).hex,
        received_at=NOON,
        provider="thingspace",
        service="DeviceLocation",
        state="stored",
        signature="unchecked",
    )
    return Entry(reports=(located(NOON - timedelta(seconds=number), mdn=mdn),), callback=callback, body=b"{}")


def submitted(writer: Writer, count: int, *, first: int = 0) -> list["asyncio.Future[None]"]:
    return [writer.submit(entry(first + number)) for number in range(count)]


@pytest.fixture
async def with_session(database: Database) -> None:
    """A session to which all the reports belong."""
    key = {"key": "00000000-0000-0000-0000-000000000001"}
    values = f":key, 'thingspace', '{ACCOUNT}', 'active', 60, 0, 0, 1, now()"
    columns = "id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at"
    statements = (
        f"INSERT INTO sessions ({columns}) VALUES ({values})",  # noqa: S608 -- ours
        f"INSERT INTO session_devices (session_id, device) VALUES (:key, '{IMEI}')",  # noqa: S608 -- ours
        "INSERT INTO session_transactions (transaction_id, session_id, kind) VALUES ('t-1', :key, 'start')",
    )
    async with database.transaction() as session:
        for statement in statements:
            await session.execute(text(statement), key)


@pytest.fixture
async def wire(database: Database, with_session: None) -> Wire:
    return Wire(database)


@pytest.fixture
async def writer(wire: Wire) -> AsyncIterator[Writer]:
    async with Writer(wire.connect, batch_limit=20).running() as writer:
        yield writer


async def test_nobody_is_told_before_the_commit(wire: Wire, writer: Writer, database: Database) -> None:
    wire.after_store, let_go = held()

    waiting = submitted(writer, 20)
    await until(lambda: len(wire.stored) == 1)
    told = [one.done() for one in waiting]
    let_go.set()
    await asyncio.gather(*waiting)

    assert not any(told)
    assert await counts(database) == (20, 20, 20)


async def test_a_burst_is_stored_one_batch_at_a_time(wire: Wire, database: Database) -> None:
    wire.before_store, let_go = held()
    async with Writer(wire.connect, batch_limit=20, slow_flush_s=60).running() as writer:
        waiting = submitted(writer, 200)
        await until(lambda: wire.stored)
        await asyncio.sleep(0.05)
        at_a_time = list(wire.stored)
        let_go.set()
        await asyncio.gather(*waiting)

    assert at_a_time == [20]
    assert await counts(database) == (200, 200, 200)


async def test_a_batch_that_is_stuck_does_not_keep_the_others_waiting(wire: Wire, database: Database) -> None:
    wire.before_store, let_go = held()
    async with Writer(wire.connect, batch_limit=20, slow_flush_s=60, stuck_s=0).running() as writer:
        stuck = writer.submit(entry(1000))
        await until(lambda: wire.stored == [1])
        wire.before_store = nothing
        for first in (0, 20, 40):
            await asyncio.wait_for(asyncio.gather(*submitted(writer, 20, first=first)), 5)
        let_go.set()
        await stuck

    assert wire.stored == [1, 20, 20, 20]
    assert await counts(database) == (61, 61, 61)


async def test_few_entries_wait_for_the_batch_before_them(wire: Wire, writer: Writer) -> None:
    wire.before_store, let_go = held()

    first = writer.submit(entry(1000))
    await until(lambda: wire.stored == [1])
    few = submitted(writer, 3)
    await asyncio.sleep(0.05)
    at_a_time = list(wire.stored)
    let_go.set()
    await asyncio.gather(first, *few)

    assert at_a_time == [1]
    assert wire.stored == [1, 3]


async def test_two_batches_with_the_same_reports_store_them_once(
    wire: Wire, writer: Writer, database: Database
) -> None:
    twice = [writer.submit(entry(number)) for number in (*range(20), *reversed(range(20)))]

    await asyncio.gather(*twice)

    assert await counts(database) == (20, 40, 20)


async def test_an_answer_that_was_lost_after_the_commit_doubles_nothing(
    wire: Wire, writer: Writer, database: Database
) -> None:
    wire.after_store = failing(2)

    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)
    assert wire.stored == [20, 20, 20]


async def test_what_a_crash_took_before_the_answer_is_stored_again_once(
    wire: Wire, writer: Writer, database: Database
) -> None:
    wire.after_store = failing(meanwhile=lambda: vanish(database))

    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)
    async with database.transaction() as session:
        taught = (await session.execute(text("SELECT device, mdn FROM account_aliases"))).all()
    assert [tuple(row) for row in taught] == [(IMEI, MDN)]


async def test_a_batch_fails_when_the_database_stays_away(wire: Wire) -> None:
    wire.after_store = failing(1000)
    async with Writer(wire.connect, patience_s=0.2).running() as writer:
        waiting = submitted(writer, 20)

        with pytest.raises(Unavailable):
            await waiting[0]


async def test_leaving_waits_for_what_is_under_way(wire: Wire, database: Database) -> None:
    wire.before_store, let_go = held()
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Writer(wire.connect).running())
        waiting = submitted(writer, 20)
        await until(lambda: len(wire.stored) == 1)
        leaving = asyncio.create_task(stack.pop_all().aclose())
        await asyncio.sleep(0.05)
        has_left = leaving.done()
        let_go.set()
        await leaving

    assert not has_left
    assert all(one.done() and one.exception() is None for one in waiting)
    assert await counts(database) == (20, 20, 20)


async def test_who_gives_up_waiting_does_not_take_the_others_along(wire: Wire, writer: Writer) -> None:
    wire.before_store, let_go = held()
    stored = writer.submit(entry(0))
    others = submitted(writer, 20)[1:]

    async def wait() -> None:
        await stored

    waiting = asyncio.create_task(wait())
    await until(lambda: len(wire.stored) == 1)
    waiting.cancel()
    await asyncio.sleep(0)
    let_go.set()

    await asyncio.gather(*others)
    await writer.submit(entry(1))
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.fixture
async def durable(durable_postgres: Callable[..., EmbeddedPostgres]) -> AsyncIterator[EmbeddedPostgres]:
    """A server that flushes only when it is asked to."""
    server = await asyncio.to_thread(durable_postgres, settings={"wal_writer_delay": "10s"})
    await upgrade(server.url)
    return server


async def test_what_was_found_there_is_flushed_before_anybody_is_told(durable: EmbeddedPostgres) -> None:
    database = Database(durable.url)
    wire = Wire(database)
    hasty = ["SET synchronous_commit = off"]

    async def leave_the_flush_out_once(connection: Connection) -> None:
        if hasty:
            await connection.execute(hasty.pop())

    wire.on_connect = leave_the_flush_out_once
    wire.after_store = failing()
    async with Writer(wire.connect, patience_s=5).running() as writer:
        # Without a number there is nothing to learn again, so that storing them again finds nothing to write.
        await asyncio.gather(*(writer.submit(entry(number, mdn=None)) for number in range(20)))
        os.kill(durable.pid, signal.SIGKILL)
    await database.aclose()
    await asyncio.to_thread(durable.stop)
    await asyncio.to_thread(durable.start)

    database = Database(durable.url)
    async with database.transaction() as session:
        stored = await session.scalar(text("SELECT count(*) FROM reports"))
    await database.aclose()
    assert wire.stored == [20, 20]
    assert stored == 20
