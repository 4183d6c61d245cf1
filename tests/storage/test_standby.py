"""Reading from a hot standby over real streaming replication: nothing that was acknowledged is missing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.main import create_app
from app.observability import metrics
from app.storage.connections import Connection
from app.storage.database import Database
from tests.support.gateways import asking, settings
from tests.support.replication import Pair, running_pair, set_options, superuser_url
from tests.support.vendors import CALLBACK_PATH, IMEI, VARIABLES, Vendors, message

IN_RECOVERY = "SELECT pg_is_in_recovery()"
PAGES = ("/reports", "/positions", f"/devices/{IMEI}/location", "/callbacks", "/audit", "/periodic", "/devices")


@pytest.fixture(scope="module")
def pair(new_cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(new_cluster, tmp_path_factory.mktemp("pair"), max_standby_streaming_delay="0") as pair:
        yield pair


@pytest.fixture
async def database(pair: Pair) -> AsyncIterator[Database]:
    database = Database(pair.primary.url, read_url=pair.standby.url)
    yield database
    await database.aclose()


@pytest.fixture
async def lagging(pair: Pair) -> AsyncIterator[None]:
    set_options(pair.standby, recovery_min_apply_delay="10s")
    yield
    set_options(pair.standby, recovery_min_apply_delay="0")


@pytest.fixture
def gateway(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FastAPI]:
    """Make gateways that read from the standby, or from another address."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)

    def make(read_url: str = pair.standby.url) -> FastAPI:
        return create_app(settings(pair.primary.url, database_read_url=SecretStr(read_url)), Vendors().transport())

    return make


def read_from(server: str) -> float:
    return metrics.READS.labels(server)._value.get()


async def text_of(client: httpx.AsyncClient, path: str, **options: str) -> str:
    answer = await client.get(path, headers=options)
    assert answer.status_code == 200, answer.text
    return answer.text


async def is_from_standby(database: Database) -> bool:
    (row,) = await database.fetch(IN_RECOVERY)
    return bool(row[0])


async def test_statements_sessions_and_long_readings_go_to_the_standby(database: Database) -> None:
    async def ask(session: AsyncSession) -> bool:
        return bool(await session.scalar(text(IN_RECOVERY)))

    async def ask_plainly(connection: Connection) -> bool:
        return bool(await connection.fetchval(IN_RECOVERY))

    async with database.long_reading(ask_plainly) as begun:
        in_long_reading = begun

    assert (await is_from_standby(database), await database.read(ask), in_long_reading) == (True, True, True)


async def test_pages_and_exports_come_from_the_standby(gateway: Callable[..., FastAPI]) -> None:
    async with asking(gateway()) as client:
        assert (await client.post(CALLBACK_PATH, json=message())).status_code == 200
        before = read_from("standby"), read_from("primary")
        for path in PAGES:
            await text_of(client, path)
        exported = await text_of(client, "/reports", Accept="text/csv")

    assert IMEI in exported
    assert read_from("standby") - before[0] >= len(PAGES) + 1
    assert read_from("primary") == before[1]


async def test_what_any_replica_acknowledged_is_found_while_the_standby_lags(
    gateway: Callable[..., FastAPI], lagging: None
) -> None:
    async with asking(gateway()) as writes, asking(gateway()) as reads:
        posted = await writes.post(CALLBACK_PATH, json=message(1, transactionID="t-lag"))
        pages = [await client.get("/reports?transactionId=t-lag") for client in (reads, writes)]
        exported = await text_of(reads, "/reports?transactionId=t-lag", Accept="application/x-ndjson")
        raw = await text_of(reads, "/callbacks")

    assert posted.status_code == 200
    assert [len(page.json()["reports"]) for page in pages] == [1, 1]
    assert (exported.count("t-lag"), raw.count("t-lag")) == (1, 1)


async def test_a_standby_that_lags_is_asked_again_only_after_a_while(database: Database, lagging: None) -> None:
    async with database.transaction() as session:
        await session.execute(text("SELECT pg_logical_emit_message(true, 'tests', '')"))
    loop = asyncio.get_running_loop()
    assert not await is_from_standby(database)

    started = loop.time()
    assert not await is_from_standby(database)

    assert loop.time() - started < 0.2


async def test_the_primary_answers_what_a_conflict_with_recovery_cancels(database: Database, pair: Pair) -> None:
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE in_conflict (number integer)"))
    primary = await asyncpg.connect(superuser_url(pair.primary))
    servers = []

    async def work(session: AsyncSession) -> object:
        await session.scalar(text("SELECT count(*) FROM in_conflict"))
        servers.append(await session.scalar(text(IN_RECOVERY)))
        if len(servers) == 1:
            await primary.execute("TRUNCATE in_conflict")
            await session.scalar(text("SELECT pg_sleep(10)"))
        return await session.scalar(text("SELECT count(*) FROM in_conflict"))

    counted = await database.read(work)
    await primary.close()

    assert servers == [True, False]
    assert counted == 0


async def test_a_standby_that_is_away_is_no_failure(gateway: Callable[..., FastAPI], free_port: int) -> None:
    async with asking(gateway(f"postgresql://gateway@127.0.0.1:{free_port}/gateway")) as client:
        await client.post(CALLBACK_PATH, json=message(2, transactionID="t-away"))
        page = await client.get("/reports?transactionId=t-away")
        exported = await text_of(client, "/reports?transactionId=t-away", Accept="text/csv")

    assert len(page.json()["reports"]) == 1
    assert "t-away" in exported


async def test_a_server_that_is_no_standby_is_not_read_from(pair: Pair) -> None:
    database = Database(pair.primary.url, read_url=f"{pair.primary.url}?target_session_attrs=any")
    before = read_from("standby")
    assert not await is_from_standby(database)
    await database.aclose()

    assert read_from("standby") == before
