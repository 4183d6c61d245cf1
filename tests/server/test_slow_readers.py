"""Clients that do not take what they have asked for: others are served, and they are let go."""

import asyncio
import socket
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.api.report_streams import MOST_STREAMS_PER_KEY
from app.main import create_app
from app.server.fast_callbacks import CallbackProtocol
from app.storage.database import Database
from tests.support.gateways import AUTHORIZED, settings
from tests.support.raw_http import Place, place_of, request
from tests.support.reports import generate
from tests.support.servers import serving
from tests.support.vendors import Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")

_REPORTS = 60_000
"""More than the buffers of the system take of an export."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(module_database_url: str, shared_vendors: Vendors) -> AsyncIterator[FastAPI]:
    database = Database(module_database_url)
    await generate(database, _REPORTS)
    await database.aclose()
    yield create_app(settings(module_database_url), shared_vendors.transport())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(app: FastAPI) -> AsyncIterator[Place]:
    protocol = partial(CallbackProtocol, write_timeout_s=1.0)
    async with serving(app, http=protocol, proxy_headers=False) as url:
        yield place_of(url)


class SlowReader:
    """A client that asks for an export, and takes nothing of it."""

    def __init__(self, place: Place, authorization: str) -> None:
        self._socket = socket.create_connection(place)
        self._socket.sendall(
            request(
                b"", f"Authorization: {authorization}", "Accept: application/x-ndjson", method="GET", path="/reports"
            )
        )
        self._socket.settimeout(0)

    async def is_cut_off(self) -> bool:
        """Take what has arrived; return whether it broke off."""
        loop = asyncio.get_running_loop()
        try:
            while received := await loop.sock_recv(self._socket, 1_000_000):
                if received.endswith(b"\r\n0\r\n\r\n"):
                    return False
        except ConnectionResetError:
            pass
        return True

    def close(self) -> None:
        self._socket.close()


async def test_slow_readers_leave_room_for_other_keys_and_are_cut_off(place: Place) -> None:
    url = f"http://{place[0]}:{place[1]}"
    export = {"Accept": "application/x-ndjson"}
    async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=60, trust_env=False) as client:
        key = (await client.post("/keys", json={"name": "slow", "scopes": ["reports:read"]})).json()["key"]
        readers = [SlowReader(place, f"Bearer {key}") for _ in range(MOST_STREAMS_PER_KEY)]
        await asyncio.sleep(0.5)

        same_key = await client.get("/reports", headers=export | {"Authorization": f"Bearer {key}"})
        other_key = await client.get("/reports", headers=export)
        await asyncio.sleep(2)
        afterwards = await client.get("/reports", headers=export | {"Authorization": f"Bearer {key}"})
        cut_off = [await reader.is_cut_off() for reader in readers]
        for reader in readers:
            reader.close()

    assert (same_key.status_code, other_key.status_code, afterwards.status_code) == (429, 200, 200)
    assert other_key.text.count("\n") == _REPORTS
    assert cut_off == [True] * MOST_STREAMS_PER_KEY


async def test_a_reader_that_is_slow_and_steady_gets_everything(place: Place) -> None:
    url = f"http://{place[0]}:{place[1]}"
    async with (
        httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=60, trust_env=False) as client,
        client.stream("GET", "/reports", headers={"Accept": "application/x-ndjson"}) as response,
    ):
        lines = 0
        async for chunk in response.aiter_bytes(1_000_000):
            lines += chunk.count(b"\n")
            await asyncio.sleep(0.1)

    assert lines == _REPORTS


async def test_an_export_ends_with_its_key(place: Place) -> None:
    url = f"http://{place[0]}:{place[1]}"
    async with httpx.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=60, trust_env=False) as client:
        made = (await client.post("/keys", json={"name": "revoked soon", "scopes": ["reports:read"]})).json()
        headers = {"Accept": "application/x-ndjson", "Authorization": f"Bearer {made['key']}"}
        async with client.stream("GET", "/reports", headers=headers) as response:
            chunks = response.aiter_raw(1000)
            await anext(chunks)
            await client.delete(f"/keys/{made['id']}")
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in chunks:
                    pass
