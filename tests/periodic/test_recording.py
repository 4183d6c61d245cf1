"""The database goes away between the provider's reply and its recording."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.engine import make_url
from stage import Stage, key, plan

from app.api.periodic_rendering import SessionAnswerWriter
from app.errors import OutcomeUnknown
from app.model import PeriodicPlan, TransactionId
from app.periodic import UnclaimedTransactions
from app.storage.database import Database
from app.storage.writer import Writer
from tests.support.trackers import HandClock, StubTracker


class Wire:
    """A connection to a database that can be cut and mended."""

    def __init__(self, database_url: str) -> None:
        self._end = make_url(database_url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return self._end.set(host="127.0.0.1", port=self._port, query={}).render_as_string(hide_password=False)

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._end.host, self._end.port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            self._writers -= {writer, far_writer}

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    wire = Wire(database_url)
    await wire.mend()
    yield wire
    await wire.cut()


@pytest.fixture
async def stage(wire: Wire, tracker: StubTracker, clock: HandClock) -> AsyncIterator[Stage]:
    database = Database(wire.url)
    async with Writer(database.connect, pending=database.pending).running() as writer:
        stage = Stage(database, writer, tracker, clock, UnclaimedTransactions())
        async with stage.periodic.running():
            yield stage
    await database.aclose()


async def test_a_short_absence_of_the_database_while_the_outcome_is_recorded_is_bridged(
    stage: Stage, tracker: StubTracker, wire: Wire
) -> None:
    replied = asyncio.Event()

    async def lose_the_database(plan: PeriodicPlan) -> TransactionId:
        await wire.cut()
        replied.set()
        return TransactionId("t-1")

    tracker.on_start = lose_the_database
    starting = asyncio.create_task(stage.start(key=key()))
    await replied.wait()
    await wire.mend()
    started = await starting

    assert (started["state"], started["transactionId"]) == ("active", "t-1")
    assert await stage.show("t-1") == started
    assert await stage.start(key=key()) == started
    assert len(tracker.starts) == 1


@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        pytest.param(None, 202, "active", id="accepted"),
        pytest.param(OutcomeUnknown("Lost."), 504, "unknown", id="lost"),
    ],
)
async def test_what_is_known_is_told_while_the_database_is_away_and_recorded_when_it_is_back(
    stage: Stage, tracker: StubTracker, wire: Wire, error: OutcomeUnknown | None, status: int, state: str
) -> None:
    async def lose_the_database(plan: PeriodicPlan) -> TransactionId:
        await wire.cut()
        if error is not None:
            raise error
        return TransactionId("t-1")

    tracker.on_start = lose_the_database
    answer = await stage.periodic.start(plan(), key=None, words=SessionAnswerWriter("a request"))
    await wire.mend()

    told = stage.read(answer)
    session = told.get("session", told)
    assert (answer.status, session["state"]) == (status, state)
    async with asyncio.timeout(30):
        while (await stage.show(session["id"]))["state"] != state:
            pass
    assert len(tracker.starts) == 1
