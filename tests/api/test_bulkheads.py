"""A provider that hangs takes nothing from the others, and nothing from the callbacks."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
from fastapi import FastAPI

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import CALLBACK_PATH, DEVICE, VARIABLES, WIFI, Vendors, message, solved

CALLERS = 500


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Vendors:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return Vendors()


@pytest.fixture
def app(database_url: str, vendors: Vendors) -> FastAPI:
    return create_app(settings(database_url), vendors.transport())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


async def test_with_one_vendor_hanging_callbacks_are_stored_and_the_other_vendor_answers(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    released, all_hang = asyncio.Event(), asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        if len(vendors.cloudlocate_calls) == CALLERS:
            all_hang.set()
        await released.wait()
        return solved()

    vendors.cloudlocate = hang
    hanging = [
        asyncio.create_task(client.post("/locate", json={"device": {"name": f"n{number}"}, "measurements": WIFI}))
        for number in range(CALLERS)
    ]
    await all_hang.wait()

    callbacks = await asyncio.gather(
        *(client.post(CALLBACK_PATH, content=orjson.dumps(message(number))) for number in range(200))
    )
    by_device = await client.post("/locate", json={"device": DEVICE, "maxAge": 0})
    stored = await client.get("/reports", params={"limit": 1000})
    ready = await client.get("/readyz")

    assert not any(task.done() for task in hanging)
    assert {response.status_code for response in callbacks} == {200}
    assert (by_device.status_code, ready.status_code) == (200, 200)
    assert len(stored.json()["reports"]) == 201
    released.set()
    assert {response.status_code for response in await asyncio.gather(*hanging)} == {200}


async def test_a_vendor_that_is_down_is_left_alone_and_the_answer_says_so(database_url: str, vendors: Vendors) -> None:
    vendors.cloudlocate = httpx.ConnectError("refused")
    app = create_app(settings(database_url, cooldown_after=3, cooldown_seconds=600), vendors.transport())
    question = {"device": DEVICE, "measurements": WIFI, "maxAge": 0}
    async with asking(app) as client:
        for number in range(3):
            await client.post("/locate", json={**question, "device": {"name": f"n{number}"}, "fallback": False})

        refused = await client.post("/locate", json={**question, "fallback": False})
        fallen_back = await client.post("/locate", json=question)
        states = {one["name"]: one for one in (await client.get("/providers")).json()["providers"]}
        vendors.cloudlocate = solved()
        await client.post("/providers/cloudlocate/reset")
        located = await client.post("/locate", json={"measurements": WIFI})

    assert (refused.status_code, refused.json()["code"]) == (503, "PROVIDER_UNAVAILABLE")
    assert 0 < int(refused.headers["retry-after"]) <= 600
    assert refused.json()["attempts"][0]["outcome"] == "unavailable"
    assert "cooling down" in refused.json()["attempts"][0]["reason"]
    assert [one["outcome"] for one in fallen_back.json()["attempts"]] == ["unavailable", "located"]
    assert states["cloudlocate"]["state"] == "cooling_down"
    assert 0 < states["cloudlocate"]["cooldownSeconds"] <= 600
    assert states["thingspace"]["state"] == "ready"
    assert (located.status_code, len(vendors.cloudlocate_calls)) == (200, 4)
