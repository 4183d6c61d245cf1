"""A provider that is one module and one entry in the list: all that a provider can do works without more."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from app.main import create_app
from app.registry import PROVIDERS
from tests.support import third_provider
from tests.support.gateways import AUTHORIZED, settings
from tests.support.servers import serving
from tests.support.third_provider import ACCOUNT, NAME, NETWORK, SERVICE, SIGNATURE, BeaconCallbacks, third
from tests.support.vendors import IMEI, MDN, WIFI

LISTENER = f"/listeners/{ACCOUNT}/{SERVICE}"
START = {"account": ACCOUNT, "devices": [{"imei": IMEI, "mdn": MDN}], "interval": 60, "count": 3}


@pytest.fixture
def app(database_url: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("BEACON_FLOOR", "3")
    for kept in (NETWORK.queries, NETWORK.started, NETWORK.stopped, NETWORK.listeners):
        kept.clear()
    configured = settings(database_url, port=free_port, public_url=f"http://127.0.0.1:{free_port}")
    return create_app(configured, providers=(*PROVIDERS, third))


@pytest.fixture
async def gateway(app: FastAPI, free_port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app, port=free_port) as url, httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as client:
        yield client


async def registered(gateway: httpx.AsyncClient) -> str:
    """Register the listener; return the path at which its callbacks come in."""
    response = await gateway.put(LISTENER)
    return urlsplit(response.json()["url"]).path


async def post(gateway: httpx.AsyncClient, path: str, said: dict[str, Any], **headers: str) -> httpx.Response:
    """Post a callback as the provider does, without an API key; signed, unless headers say otherwise."""
    body = json.dumps(said).encode()
    signed = headers or BeaconCallbacks().sign(body, f"secret of {ACCOUNT}")
    async with httpx.AsyncClient(base_url=gateway.base_url) as provider:
        return await provider.post(path, content=body, headers={**signed})


def seen(job: str) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    return {"job": job, "imei": IMEI, "latitude": 42.5, "longitude": -71.25, "seen": now.isoformat()}


async def test_its_state_names_all_that_it_can(gateway: httpx.AsyncClient) -> None:
    states = (await gateway.get("/providers")).json()["providers"]

    assert [state["name"] for state in states] == ["cloudlocate", "thingspace", "beacon"]
    assert states[2]["abilities"] == ["locator", "tracker", "callbacks", "listeners"]


async def test_it_locates(gateway: httpx.AsyncClient) -> None:
    answer = (await gateway.post("/locate", json={"measurements": WIFI, "device": {"imei": IMEI}})).json()
    reports = (await gateway.get("/reports", params={"imei": IMEI})).json()["reports"]

    assert (answer["location"]["provider"], answer["location"]["latitude"]) == (NAME, 3.0)
    assert reports[0]["location"]["provider"] == NAME
    assert len(NETWORK.queries) == 1


async def test_it_can_be_asked_alone(gateway: httpx.AsyncClient) -> None:
    answer = (await gateway.post("/locate", json={"measurements": WIFI, "provider": NAME})).json()

    assert [attempt["provider"] for attempt in answer["attempts"]] == [NAME]


async def test_its_sessions_start_and_stop(gateway: httpx.AsyncClient) -> None:
    started = await gateway.post("/periodic", json=START)
    stopped = await gateway.delete(f"/periodic/{started.json()['id']}")
    session = (await gateway.get(f"/periodic/{started.json()['id']}")).json()

    assert (started.status_code, started.json()["state"], started.json()["transactionId"]) == (202, "active", "job-1")
    assert (stopped.status_code, session["state"]) == (200, "stopping")
    assert NETWORK.stopped == [("job-1", (MDN,))]


async def test_its_callbacks_bring_the_reports_of_its_sessions(gateway: httpx.AsyncClient) -> None:
    path = await registered(gateway)
    session = (await gateway.post("/periodic", json=START)).json()

    response = await post(gateway, path, seen("job-1"))

    reports = (await gateway.get(f"/periodic/{session['id']}/reports")).json()["reports"]
    assert (response.status_code, path.split("/")[2]) == (200, NAME)
    assert [(report["provider"], report["location"]["latitude"]) for report in reports] == [(NAME, 42.5)]
    assert (await gateway.get(f"/periodic/{session['id']}")).json()["reports"]["received"] == 1


async def test_its_callbacks_are_checked_by_its_own_signature(gateway: httpx.AsyncClient) -> None:
    path = await registered(gateway)

    good = await post(gateway, path, seen("job-1"))
    wrong = await post(gateway, path, seen("job-2"), **{SIGNATURE: "0" * 64})

    assert (good.status_code, wrong.status_code) == (200, 401)
    callbacks = (await gateway.get("/callbacks")).json()["callbacks"]
    assert [(callback["provider"], callback["signature"]) for callback in callbacks] == [(NAME, "valid")]


async def test_what_cannot_be_read_of_it_waits_in_quarantine(gateway: httpx.AsyncClient) -> None:
    path = await registered(gateway)

    response = await post(gateway, path, {"weather": "fine"})
    quarantined = (await gateway.get("/callbacks", params={"state": "quarantined"})).json()["callbacks"]
    replayed = (await gateway.post(f"/callbacks/{quarantined[0]['id']}/replay")).json()

    assert (response.status_code, len(quarantined)) == (200, 1)
    assert replayed["reason"] == "The callback names no job."


async def test_its_listener_is_registered_listed_tried_and_removed(gateway: httpx.AsyncClient) -> None:
    registered = (await gateway.put(LISTENER)).json()
    listed = (await gateway.get("/listeners")).json()["listeners"]
    trial = (await gateway.post(f"{LISTENER}/test")).json()
    removed = await gateway.delete(LISTENER)

    assert listed == [registered]
    assert (registered["provider"], registered["secretKnown"]) == (NAME, True)
    assert (trial["arrived"], trial["status"], removed.status_code) == (True, 200, 204)
    assert (await gateway.get("/listeners")).json()["listeners"] == []
    assert NETWORK.listeners == {}


@pytest.mark.parametrize("provider", ["thingspace", third_provider.NAME])
async def test_every_address_of_callbacks_is_open_and_says_what_it_takes(
    gateway: httpx.AsyncClient, provider: str
) -> None:
    async with httpx.AsyncClient(base_url=gateway.base_url) as stranger:
        response = await stranger.get(f"/callbacks/{provider}/some-token")

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
