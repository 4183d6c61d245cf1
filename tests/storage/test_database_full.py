"""A Postgres that has no connection left for the gateway: nothing is lost, everything says when to come back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from app.embedded_postgres import EmbeddedPostgres
from app.main import create_app
from app.storage.migrate import upgrade
from app.storage.urls import to_dsn
from tests.support.gateways import asking, settings
from tests.support.postgres import in_thread
from tests.support.vendors import CALLBACK_PATH, DEVICE, VARIABLES, Vendors, message

_OTHERS = "pid <> ALL ($1::int[]) AND usename = current_user"


@pytest.fixture
def small_url(durable_postgres: Callable[..., EmbeddedPostgres]) -> str:
    """A database on a server that takes few connections."""
    server = durable_postgres(settings={"max_connections": "24", "autovacuum": "off"})
    in_thread(upgrade(server.url))
    return server.url


@asynccontextmanager
async def no_connection_left(url: str) -> AsyncIterator[None]:
    """Take all connections, those that others have included."""
    held: list[asyncpg.Connection[asyncpg.Record]] = [await asyncpg.connect(to_dsn(url))]
    others = 1
    while others:
        try:
            while True:
                held.append(await asyncpg.connect(to_dsn(url)))
        except asyncpg.TooManyConnectionsError:
            pids = [connection.get_server_pid() for connection in held]
            others = await held[0].fetchval(
                f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {_OTHERS}",  # noqa: S608 -- ours
                pids,
            )
    try:
        yield
    finally:
        for connection in held:
            connection.terminate()


@pytest.fixture
async def gateway(small_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    async with asking(create_app(settings(small_url), Vendors().transport())) as client:
        yield client


QUESTIONS = [
    ("GET", "/readyz", None),
    ("GET", "/reports", None),
    ("GET", "/positions", None),
    ("GET", "/devices/990001123456782/location", None),
    ("DELETE", "/devices/990001123456782", None),
    ("GET", "/callbacks", None),
    ("GET", "/callbacks/01JNB3X7Q2V4C0M8T5Y6Z7A8B9", None),
    ("POST", "/callbacks/replay", None),
    ("POST", "/callbacks/thingspace/not-a-token", message()),
    ("GET", "/listeners", None),
    ("GET", "/periodic", None),
    ("POST", "/periodic", {"devices": [DEVICE], "interval": 300, "count": 6}),
    ("GET", "/audit", None),
    ("GET", "/keys", None),
    ("POST", "/keys", {"name": "another", "scopes": ["locate"]}),
]


async def test_every_route_that_needs_the_database_says_503(gateway: httpx.AsyncClient, small_url: str) -> None:
    async with no_connection_left(small_url):
        found = {f"{method} {path}": await gateway.request(method, path, json=body) for method, path, body in QUESTIONS}
        stranger = await gateway.get("/reports", headers={"Authorization": "Bearer lg_not_known"})

    assert {question: response.status_code for question, response in found.items()} == dict.fromkeys(found, 503)
    assert {response.json()["code"] for response in [*found.values(), stranger]} == {"UNAVAILABLE"}
    assert all("retry-after" in response.headers for response in [*found.values(), stranger])


async def test_a_callback_is_not_acknowledged_and_taken_afterwards(gateway: httpx.AsyncClient, small_url: str) -> None:
    async with no_connection_left(small_url):
        refused = await gateway.post(CALLBACK_PATH, json=message())

    async with asyncio.timeout(60):
        while (await gateway.post(CALLBACK_PATH, json=message())).status_code != 200:  # noqa: ASYNC110 -- no event tells of it
            await asyncio.sleep(0.1)

    assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
    assert len((await gateway.get("/reports")).json()["reports"]) == 1


async def test_a_gateway_starts_without_one(small_url: str) -> None:
    async with (
        no_connection_left(small_url),
        asking(create_app(settings(small_url), Vendors().transport())) as client,
    ):
        healthy, ready = await client.get("/healthz"), await client.get("/readyz")

    assert (healthy.status_code, ready.status_code) == (200, 503)
