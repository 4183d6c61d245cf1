"""What the writer stored in haste is acknowledged once it is flushed, and stored again, once, when it may be lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest
from reports import IMEI, MDN, NOON, located
from sqlalchemy import text

from app.errors import Unavailable
from app.storage.database import Connection, Database
from app.storage.embedded import EmbeddedPostgres
from app.storage.migrate import upgrade
from app.storage.rows import NewCallback, new_id
from app.storage.writer import Entry, Writer
from app.storage.writer.statements import FLUSH

HASTY = "'synchronous_commit', 'off'"
LOST = asyncpg.ConnectionDoesNotExistError("lost")

Hook = Callable[[Connection], Awaitable[None]]


async def nothing(_: Connection) -> None:
    """Let things take their course."""


class Wire:
    """Connections on which a test can interfere.

    Attributes:
        stored: The statements that stored something, or tried to.
        flushes: How many flushes have begun.
        before_flush: Called before a flush; what it raises is what the writer gets instead.
        after_store: Called after a batch is stored; what it raises takes the place of the answer.
        on_connect: Called before a connection is opened.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.stored: list[str] = []
        self.flushes = 0
        self.before_flush: Hook = nothing
        self.after_store: Hook = nothing
        self.on_connect: Callable[[], None] = lambda: None

    async def connect(self) -> Any:
        """Open a connection, for the writer."""
        self.on_connect()
        return _Interfering(await self._database.connect(), self)

    @property
    def were_hasty(self) -> list[bool]:
        """Which of the statements left the flush to somebody else."""
        return [HASTY in statement for statement in self.stored]


class _Interfering:
    def __init__(self, connection: Connection, wire: Wire) -> None:
        self._connection = connection
        self._wire = wire

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        self._wire.stored.append(query)
        answer = await self._connection.fetchrow(query, *arguments)
        await self._wire.after_store(self._connection)
        return answer

    async def execute(self, query: str) -> str:
        if query == FLUSH:
            self._wire.flushes += 1
            await self._wire.before_flush(self._connection)
        return await self._connection.execute(query)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Counts(NamedTuple):
    reports: int
    callbacks: int
    received: int


async def counts(database: Database) -> Counts:
    """Count everything that an entry adds to."""
    async with database.session() as session:
        found = await session.execute(
            text(
                "SELECT (SELECT count(*) FROM reports), (SELECT count(*) FROM callbacks), "
                "(SELECT sum(received) FROM session_devices)"
            )
        )
        return Counts(*found.one())


async def vanish(database: Database) -> None:
    """Take back what was committed in haste, as a crash does."""
    async with database.session() as session:
        for statement in (
            "DELETE FROM reports",
            "DELETE FROM callbacks",
            "DELETE FROM positions",
            "DELETE FROM aliases",
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


def submitted(writer: Writer, count: int) -> list["asyncio.Future[None]"]:
    return [writer.submit(entry(number)) for number in range(count)]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 -- many things are waited for, few of them are events
            await asyncio.sleep(0.005)


@pytest.fixture
async def with_session(database: Database) -> None:
    """A session to which all the reports belong."""
    key = {"key": "00000000-0000-0000-0000-000000000001"}
    values = ":key, 'thingspace', 'a', 'active', 60, 0, 0, 1, now()"
    columns = "id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at"
    statements = (
        f"INSERT INTO sessions ({columns}) VALUES ({values})",  # noqa: S608 -- ours
        f"INSERT INTO session_devices (session_id, device) VALUES (:key, '{IMEI}')",  # noqa: S608 -- ours
        "INSERT INTO session_transactions (transaction_id, session_id, kind) VALUES ('t-1', :key, 'start')",
    )
    async with database.session() as session:
        for statement in statements:
            await session.execute(text(statement), key)


@pytest.fixture
async def wire(database: Database, with_session: None) -> Wire:
    return Wire(database)


@pytest.fixture
async def writer(wire: Wire) -> AsyncIterator[Writer]:
    async with Writer(wire.connect, batch_limit=20).running() as writer:
        yield writer


async def test_nobody_is_told_before_the_flush(wire: Wire, writer: Writer, database: Database) -> None:
    wire.before_flush, let_go = held()

    waiting = submitted(writer, 20)
    await until(lambda: wire.flushes == 1)

    assert await counts(database) == (20, 20, 20)
    assert not any(one.done() for one in waiting)
    let_go.set()
    await asyncio.gather(*waiting)
    assert wire.were_hasty == [True]


async def test_batches_are_stored_while_a_flush_is_under_way_and_share_the_next(
    wire: Wire, writer: Writer, database: Database
) -> None:
    wire.before_flush, let_go = held()

    waiting = submitted(writer, 200)
    await until(lambda: len(wire.stored) == 10)
    stored = await counts(database)
    told = [one.done() for one in waiting]
    let_go.set()
    await asyncio.gather(*waiting)

    assert stored == (200, 200, 200)
    assert not any(told)
    assert wire.flushes == 2


async def test_few_entries_alone_are_flushed_by_their_own_commit(wire: Wire, writer: Writer) -> None:
    await asyncio.gather(*submitted(writer, 3))

    assert wire.were_hasty == [False]
    assert wire.flushes == 0


async def test_what_a_crash_took_before_its_flush_is_stored_again_once(
    wire: Wire, writer: Writer, database: Database
) -> None:
    wire.before_flush = failing(meanwhile=lambda: vanish(database))

    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)
    assert wire.were_hasty == [True, False]


async def test_what_survived_a_failed_flush_is_not_doubled(wire: Wire, writer: Writer, database: Database) -> None:
    wire.before_flush = failing()

    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)
    assert wire.were_hasty == [True, False]


async def test_what_a_crash_took_in_part_is_completed(wire: Wire, writer: Writer, database: Database) -> None:
    async def lose_the_second_batch() -> None:
        await until(lambda: len(wire.stored) == 2)
        async with database.session() as session:
            newest = "SELECT at FROM reports ORDER BY at LIMIT 20"
            await session.execute(
                text(f"DELETE FROM callbacks WHERE id IN (SELECT callback_id FROM reports WHERE at IN ({newest}))")  # noqa: S608 -- ours
            )
            await session.execute(text(f"DELETE FROM reports WHERE at IN ({newest})"))  # noqa: S608 -- ours
            await session.execute(text("UPDATE session_devices SET received = received - 20"))

    wire.before_flush = failing(meanwhile=lose_the_second_batch)

    await asyncio.gather(*submitted(writer, 40))

    assert await counts(database) == (40, 40, 40)


async def test_all_batches_in_flight_are_stored_again_when_their_witness_is_gone(
    wire: Wire, writer: Writer, database: Database
) -> None:
    async def all_is_lost() -> None:
        await until(lambda: len(wire.stored) == 5)
        await vanish(database)

    wire.before_flush = failing(meanwhile=all_is_lost)

    await asyncio.gather(*submitted(writer, 100))

    assert await counts(database) == (100, 100, 100)
    assert wire.were_hasty.count(False) == 5


async def test_what_a_lost_batch_had_taught_is_taught_again(wire: Wire, writer: Writer, database: Database) -> None:
    wire.before_flush = failing(meanwhile=lambda: vanish(database))

    await asyncio.gather(*submitted(writer, 20))

    async with database.session() as session:
        taught = (await session.execute(text("SELECT device, mdn FROM aliases"))).all()
    assert [tuple(row) for row in taught] == [(IMEI, MDN)]


async def test_an_answer_that_was_lost_after_the_commit_doubles_nothing(
    wire: Wire, writer: Writer, database: Database
) -> None:
    wire.after_store = failing(2)

    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)
    assert len(wire.stored) == 3


async def test_without_a_connection_for_flushes_commits_wait_for_their_own(
    wire: Wire, writer: Writer, database: Database
) -> None:
    await writer.submit(entry(1000))

    def refuse() -> None:
        raise asyncpg.TooManyConnectionsError("enough")

    wire.on_connect = refuse
    await asyncio.gather(*submitted(writer, 60))

    assert await counts(database) == (61, 61, 61)
    assert not any(wire.were_hasty)
    assert wire.flushes == 0


@pytest.mark.parametrize("error", [LookupError("odd"), TimeoutError()])
async def test_a_connection_for_flushes_that_fails_oddly_keeps_nobody_waiting(
    wire: Wire, writer: Writer, database: Database, error: Exception
) -> None:
    await writer.submit(entry(1000))
    left = [error]

    def refuse() -> None:
        if left:
            raise left.pop()

    wire.on_connect = refuse
    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (21, 21, 21)


async def test_a_flush_that_fails_oddly_keeps_nobody_waiting(wire: Wire, writer: Writer, database: Database) -> None:
    left: list[Exception] = [LookupError("odd")]

    async def fail(_: Connection) -> None:
        if left:
            raise left.pop()

    wire.before_flush = fail
    await asyncio.gather(*submitted(writer, 20))

    assert await counts(database) == (20, 20, 20)


async def test_another_witness_is_called_when_one_is_gone(wire: Wire, writer: Writer) -> None:
    wire.before_flush = failing()

    await asyncio.gather(*submitted(writer, 20))
    await asyncio.gather(*submitted(writer, 20))

    assert wire.were_hasty == [True, False, True]
    assert wire.flushes == 2


async def test_a_lost_batch_fails_when_the_database_stays_away(wire: Wire) -> None:
    async def lose_everything(connection: Connection) -> None:
        def refuse() -> None:
            raise ConnectionRefusedError

        wire.on_connect = refuse
        wire.after_store = failing(1000)
        raise LOST

    wire.before_flush = lose_everything
    async with Writer(wire.connect, patience_s=0.2).running() as writer:
        waiting = submitted(writer, 20)

        with pytest.raises(Unavailable):
            await waiting[0]


async def test_leaving_waits_for_the_flush(wire: Wire, database: Database) -> None:
    wire.before_flush, let_go = held()
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(Writer(wire.connect).running())
        waiting = submitted(writer, 20)
        await until(lambda: wire.flushes == 1)
        leaving = asyncio.create_task(stack.pop_all().aclose())
        await asyncio.sleep(0.05)
        has_left = leaving.done()
        let_go.set()
        await leaving

    assert not has_left
    assert all(one.done() and one.exception() is None for one in waiting)
    assert await counts(database) == (20, 20, 20)


async def test_leaving_stores_again_what_a_flush_lost_meanwhile(wire: Wire, database: Database) -> None:
    wire.before_flush = failing(meanwhile=lambda: vanish(database))
    async with Writer(wire.connect).running() as writer:
        waiting = submitted(writer, 20)

    assert all(one.done() and one.exception() is None for one in waiting)
    assert await counts(database) == (20, 20, 20)


async def test_who_gives_up_waiting_does_not_take_the_others_along(wire: Wire, writer: Writer) -> None:
    wire.before_flush, let_go = held()
    stored = writer.submit(entry(0))
    others = submitted(writer, 20)[1:]

    async def wait() -> None:
        await stored

    waiting = asyncio.create_task(wait())
    await until(lambda: wire.flushes == 1)
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


async def test_what_survived_a_failed_flush_is_flushed_before_anybody_is_told(durable: EmbeddedPostgres) -> None:
    database = Database(durable.url)
    wire = Wire(database)

    async with Writer(wire.connect, patience_s=0).running() as writer:
        wire.before_flush = failing()
        # Without a number there is nothing to learn again, so that storing them again finds nothing to write.
        await asyncio.gather(*(writer.submit(entry(number, mdn=None)) for number in range(20)))
        os.kill(durable.pid, signal.SIGKILL)
    await database.aclose()
    await asyncio.to_thread(durable.stop)
    await asyncio.to_thread(durable.start)

    database = Database(durable.url)
    async with database.session() as session:
        stored = await session.scalar(text("SELECT count(*) FROM reports"))
    await database.aclose()
    assert wire.were_hasty == [True, False]
    assert stored == 20
