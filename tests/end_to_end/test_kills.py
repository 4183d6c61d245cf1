"""Several gateways on one Postgres that is not their own, while they, and it, are killed in the middle of a burst."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from app.embedded_postgres import EmbeddedPostgres
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.migrate import upgrade
from tests.support.callback_senders import Sender, stored_numbers
from tests.support.gateways import KEY, any_port
from tests.support.postgres import copy_cluster, in_thread
from tests.support.servers import Program, running
from tests.support.vendors import ACCOUNT, IMEI, VARIABLES

COUNT = 3000
EVERYTHING = list(range(COUNT))
_TABLES = (
    "reports, undated_reports, positions, account_aliases, callbacks, sessions, session_devices, session_transactions"
)
_SESSION = "00000000-0000-0000-0000-000000000001"
_COLUMNS = "id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at"
_VALUES = f"'{_SESSION}', 'thingspace', '{ACCOUNT}', 'active', 60, 0, 0, 1, now()"
_BEGIN = (
    f"TRUNCATE {_TABLES}",
    f"INSERT INTO sessions ({_COLUMNS}) VALUES ({_VALUES})",  # noqa: S608 -- ours
    f"INSERT INTO session_devices (session_id, device) VALUES ('{_SESSION}', '{IMEI}')",  # noqa: S608 -- ours
    f"INSERT INTO session_transactions VALUES ('t-1', '{_SESSION}', 'start')",  # noqa: S608 -- ours
)


class Fleet:
    """Gateways that can be killed and started again, each on its port."""

    def __init__(self, database_url: str, folder: Path, stack: ExitStack) -> None:
        self.ports = [any_port() for _ in range(4)]
        self._database_url = database_url
        self._folder = folder
        self._stack = stack
        self._programs: dict[int, Program] = {}

    def start(self, port: int) -> None:
        """Start a gateway; returns at once."""
        variables = VARIABLES | {
            "GATEWAY_API_KEY": KEY,
            "GATEWAY_DATABASE_URL": self._database_url,
            "GATEWAY_LOG_LEVEL": "error",
            "GATEWAY_PORT": str(port),
        }
        arguments = ["-m", "app", "serve"]
        self._programs[port] = self._stack.enter_context(running(arguments, environment=variables, folder=self._folder))

    def kill(self, port: int) -> None:
        """End a gateway as a crash would."""
        self._programs.pop(port).kill()

    async def is_ready(self) -> None:
        """Wait until all gateways that were started are ready."""
        for port, program in self._programs.items():
            await program.answers(f"http://127.0.0.1:{port}/readyz")


@pytest.fixture(scope="module")
def server(new_cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that flushes to the disk, and belongs to none of the gateways."""
    place = tmp_path_factory.mktemp("durable")
    copy_cluster(new_cluster, place / "postgres")
    server = EmbeddedPostgres(place, die_with_parent=True)
    server.start()
    in_thread(upgrade(server.url))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateways(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        fleet = Fleet(server.url, tmp_path_factory.mktemp("gateways"), stack)
        for port in fleet.ports:
            fleet.start(port)
        asyncio.run(fleet.is_ready())
        yield fleet


@asynccontextmanager
async def connected(server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    database = Database(server.url)
    connection = await database.connect()
    try:
        yield connection
    finally:
        await connection.close()
        await database.aclose()


@pytest.fixture
async def fleet(gateways: Fleet, server: EmbeddedPostgres) -> Fleet:
    """All gateways, on an empty database with one session to which all reports will belong."""
    await gateways.is_ready()
    async with connected(server) as connection:
        for statement in _BEGIN:
            await connection.execute(statement)
    return gateways


class Stored(NamedTuple):
    numbers: list[int]
    received: int
    callbacks: int


async def stored(server: EmbeddedPostgres, port: int) -> Stored:
    async with connected(server) as connection:
        received = await connection.fetchval("SELECT sum(received)::int FROM session_devices")
        callbacks = await connection.fetchval("SELECT count(*) FROM callbacks")
    return Stored(sorted(await stored_numbers(port)), received, callbacks)


async def burst(ports: Sequence[int], blows: Sequence[Callable[[], object]]) -> None:
    """Send everything until it is acknowledged, with blows dealt at even distances."""
    sender = Sender(ports, EVERYTHING, goes_on=True)
    sending = asyncio.create_task(sender.send())
    async with asyncio.timeout(100):
        for number, blow in enumerate(blows, start=1):
            await sender.until(number * COUNT // (len(blows) + 1))
            blow()
        await sending
    assert sender.acknowledged == set(EVERYTHING)


async def assert_all_is_there_once(fleet: Fleet, server: EmbeddedPostgres, ports: Sequence[int]) -> None:
    """Look for everything, send it all again, and look again through another gateway."""
    await fleet.is_ready()
    first = await stored(server, ports[-1])
    again = Sender(ports, EVERYTHING)
    await again.send()
    second = await stored(server, ports[0])
    assert again.acknowledged == set(EVERYTHING)
    assert first.numbers == second.numbers == EVERYTHING
    assert (first.received, second.received) == (COUNT, COUNT)
    assert second.callbacks - first.callbacks == COUNT <= first.callbacks


@pytest.mark.parametrize(("count", "victims"), [(2, 1), (4, 3)])
async def test_killed_gateways_lose_nothing_and_double_nothing(
    fleet: Fleet, server: EmbeddedPostgres, count: int, victims: int
) -> None:
    ports = fleet.ports[:count]

    def blow(victim: int) -> Callable[[], None]:
        def strike() -> None:
            fleet.kill(victim)
            fleet.start(victim)

        return strike

    await burst(ports, [blow(port) for port in ports[:victims]])

    await assert_all_is_there_once(fleet, server, ports)


@pytest.mark.parametrize("what", ["a backend", "the server"])
async def test_a_killed_database_loses_nothing_and_doubles_nothing(
    fleet: Fleet, server: EmbeddedPostgres, what: str
) -> None:
    ports = fleet.ports[:2]
    async with connected(server) as connection:
        of_gateways = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    victim = of_gateways[0]["pid"] if what == "a backend" else server.pid
    async with server.watched():
        await burst(ports, [lambda: os.kill(victim, signal.SIGKILL)])

        await assert_all_is_there_once(fleet, server, ports)
