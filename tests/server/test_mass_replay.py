"""Replays of many callbacks end with those who asked for them."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.errors import PermissionDenied
from app.storage.callbacks import CallbackFilter
from tests.support.gateways import KEY
from tests.support.raw_http import Place, count_rows, request
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import CALLBACK_PATH, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

WAITING = "state = 'quarantined'"


async def quarantine(gateway: httpx.AsyncClient, app: FastAPI, count: int) -> None:
    """Keep callbacks in quarantine that can be read by now."""
    await asyncio.gather(*(gateway.post(CALLBACK_PATH, content=b"{") for _ in range(count)))
    async with app.state.storage.database.transaction() as session:
        await session.execute(text("UPDATE callbacks SET body = :body"), {"body": json.dumps(message()).encode()})


async def test_it_ends_when_its_client_has_left(gateway: httpx.AsyncClient, gateway_app: FastAPI, place: Place) -> None:
    await quarantine(gateway, gateway_app, 1000)
    _, writer = await asyncio.open_connection(*place)

    writer.write(request(b"", f"Authorization: Bearer {KEY}", path="/callbacks/replay"))
    await writer.drain()
    writer.close()
    await asyncio.sleep(1)
    before = await count_rows(gateway_app, "callbacks", WAITING)
    await asyncio.sleep(0.5)

    assert before == await count_rows(gateway_app, "callbacks", WAITING) > 0


async def test_it_ends_when_the_key_is_revoked(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    await quarantine(gateway, gateway_app, 2000)
    headers = await make_key("callbacks", name="revoked soon")
    [key] = [one for one in (await gateway.get("/keys")).json()["keys"] if one["name"] == "revoked soon"]

    replay = asyncio.create_task(gateway.post("/callbacks/replay", headers=headers))
    while await count_rows(gateway_app, "callbacks", WAITING) == 2000:  # noqa: ASYNC110 -- no event tells of it
        await asyncio.sleep(0.01)
    await gateway.delete(f"/keys/{key['id']}")
    response = await replay

    assert (response.status_code, response.json()["code"]) == (401, "UNAUTHENTICATED")
    assert await count_rows(gateway_app, "callbacks", WAITING) > 0


async def test_it_looks_before_each_page(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await quarantine(gateway, gateway_app, 250)
    looks = 0

    async def refuse_the_second() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise PermissionDenied

    with pytest.raises(PermissionDenied):
        await gateway_app.state.gateway.replay.every(CallbackFilter(state="quarantined"), refuse_the_second)

    assert await count_rows(gateway_app, "callbacks", WAITING) == 150


async def test_it_goes_through_everything_else(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await quarantine(gateway, gateway_app, 250)

    response = await gateway.post("/callbacks/replay")

    assert response.json() == {"stored": 250, "quarantined": 0}
    assert await count_rows(gateway_app, "reports") == 1
