"""Our callback listeners: registered at a simulated ThingSpace over real sockets, tried, checked and removed."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.main import create_app
from app.simulator import create_simulator
from app.simulator.options import Options
from tests.support.gateways import AUTHORIZED, any_port, settings, simulator_variables
from tests.support.servers import serving
from tests.support.vendors import ACCOUNT, IMEI, MDN, TOKEN, message

Json = dict[str, Any]
LISTENER = f"/listeners/{ACCOUNT}/DeviceLocation"


@pytest.fixture
def simulator() -> Starlette:
    return create_simulator(Options(callback_delay_s=0, consent="both"))


@pytest.fixture
async def simulator_url(simulator: Starlette, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A simulator on a socket, and settings that lead to it."""
    async with serving(simulator) as url:
        for name, value in simulator_variables(url).items():
            monkeypatch.setenv(name, value)
        yield url


@pytest.fixture
def app(database_url: str, free_port: int, simulator_url: str) -> FastAPI:
    """A gateway that knows its public address."""
    return create_app(settings(database_url, port=free_port, public_url=f"http://127.0.0.1:{free_port}"))


@pytest.fixture
async def gateway(app: FastAPI, free_port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app, port=free_port) as url, httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as client:
        yield client


async def listed(gateway: httpx.AsyncClient) -> list[Json]:
    found: list[Json] = (await gateway.get("/listeners")).json()["listeners"]
    return found


async def registered_at(simulator_url: str) -> Json:
    async with httpx.AsyncClient(base_url=simulator_url) as client:
        found: Json = (await client.get("/control/thingspace")).json()["listeners"][ACCOUNT]
    return found


async def test_a_listener_is_registered_at_our_public_address(gateway: httpx.AsyncClient, simulator_url: str) -> None:
    response = await gateway.put(LISTENER)

    listener = response.json()
    assert response.status_code == 200
    assert listener["url"].startswith(f"{gateway.base_url}/callbacks/thingspace/")
    assert (listener["managed"], listener["secretKnown"], listener["problem"]) == (True, True, None)
    assert await registered_at(simulator_url) == {"DeviceLocation": listener["url"]}
    assert await listed(gateway) == [listener]


async def test_a_synthetic_callback_goes_the_whole_way_with_a_valid_signature(gateway: httpx.AsyncClient) -> None:
    await gateway.put(LISTENER)

    trial = (await gateway.post(f"{LISTENER}/test")).json()

    assert (trial["arrived"], trial["status"]) == (True, 200)
    callbacks = (await gateway.get("/callbacks")).json()["callbacks"]
    assert [callback["signature"] for callback in callbacks] == ["valid"]
    reports = (await gateway.get("/reports", params={"transactionId": trial["transactionId"]})).json()["reports"]
    assert [report["type"] for report in reports] == ["other"]


async def test_what_thingspace_sends_is_verified_and_found(
    gateway: httpx.AsyncClient, simulator: Starlette, simulator_url: str
) -> None:
    await gateway.put(LISTENER)
    started = await gateway.post(
        "/periodic", json={"devices": [{"imei": IMEI, "mdn": MDN}], "interval": 60, "count": 1, "maxAge": 0}
    )

    async with httpx.AsyncClient(base_url=simulator_url) as client:
        drained = await client.post("/control/thingspace/drain", json={"timeoutSeconds": 20})

    assert drained.status_code == 200, drained.text
    transaction = started.json()["transactionId"]
    reports = (await gateway.get("/reports", params={"transactionId": transaction})).json()["reports"]
    assert [report["status"] for report in reports] == ["located"]
    callbacks = (await gateway.get("/callbacks")).json()["callbacks"]
    assert {callback["signature"] for callback in callbacks} == {"valid"}


async def test_registering_again_keeps_the_address_and_learns_the_new_secret(gateway: httpx.AsyncClient) -> None:
    first = (await gateway.put(LISTENER)).json()
    second = (await gateway.put(LISTENER)).json()

    assert first["url"] == second["url"]
    assert (await gateway.post(f"{LISTENER}/test")).json()["arrived"] is True
    callbacks = (await gateway.get("/callbacks")).json()["callbacks"]
    assert callbacks[0]["signature"] == "valid"


async def test_the_secret_is_stored_sealed_and_never_shown(
    gateway: httpx.AsyncClient, app: FastAPI, simulator: Starlette
) -> None:
    answer = await gateway.put(LISTENER)
    secret = app.state.gateway.listener_test._addresses.secret_of(ACCOUNT, "DeviceLocation")

    async with app.state.storage.database.transaction() as session:
        row = (await session.execute(text("SELECT * FROM listeners"))).mappings().one()

    assert secret
    assert secret not in answer.text + (await gateway.get("/listeners")).text
    assert secret.encode() not in bytes(row["sealed_secret"])
    assert secret not in repr(dict(row))


async def test_a_removed_listener_is_unknown_from_then_on(gateway: httpx.AsyncClient, simulator_url: str) -> None:
    url = (await gateway.put(LISTENER)).json()["url"]

    removed = await gateway.delete(LISTENER)

    assert removed.status_code == 204
    assert await listed(gateway) == []
    assert await registered_at(simulator_url) == {}
    assert (await gateway.post(url, json=message())).status_code == 404
    assert (await gateway.delete(LISTENER)).status_code == 404


async def test_a_token_made_by_another_process_is_accepted(
    gateway: httpx.AsyncClient, database_url: str, simulator_url: str
) -> None:
    url = (await gateway.put(LISTENER)).json()["url"]
    path = url.removeprefix(str(gateway.base_url))

    async with (
        serving(create_app(settings(database_url))) as other,
        httpx.AsyncClient(base_url=other, headers=AUTHORIZED) as replica,
    ):
        await gateway.delete(LISTENER)
        fresh = (await gateway.put(LISTENER)).json()["url"].removeprefix(str(gateway.base_url))
        accepted = await replica.post(fresh, json=message())
        tried = await replica.post(f"{LISTENER}/test")

    assert fresh != path
    assert accepted.status_code == 200
    assert tried.json()["arrived"] is True


async def test_an_address_can_be_named(gateway: httpx.AsyncClient) -> None:
    response = await gateway.put(LISTENER, json={"url": "https://gateway.example/somewhere"})

    assert response.json()["url"] == "https://gateway.example/somewhere"


@pytest.mark.parametrize(
    "url", ["http://gateway.example/x", "ftp://127.0.0.1/", "nonsense", "https://", "//a.example/x"]
)
async def test_an_unsafe_address_is_not_registered(gateway: httpx.AsyncClient, url: str) -> None:
    response = await gateway.put(LISTENER, json={"url": url})

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/url")
    assert await listed(gateway) == []


async def test_a_service_that_does_not_exist(gateway: httpx.AsyncClient) -> None:
    response = await gateway.put(f"/listeners/{ACCOUNT}/Nothing")

    assert (response.status_code, response.json()["code"]) == (422, "INVALID_ARGUMENT")
    assert "DeviceLocation" in response.text


async def test_a_registration_that_thingspace_refuses_is_told(gateway: httpx.AsyncClient, simulator: Starlette) -> None:
    simulator.state.simulator.faults.put("account_unknown")

    response = await gateway.put(LISTENER)

    assert (response.status_code, response.json()["code"]) == (502, "PROVIDER_REFUSED")


async def test_a_way_that_is_blocked_is_told(gateway: httpx.AsyncClient) -> None:
    await gateway.put(LISTENER, json={"url": "http://127.0.0.1:1/callbacks/thingspace/x"})

    trial = (await gateway.post(f"{LISTENER}/test")).json()

    assert (trial["arrived"], trial["status"]) == (False, None)
    assert "could not be reached" in trial["detail"]


async def test_somebody_else_behind_our_address_is_told(gateway: httpx.AsyncClient, simulator_url: str) -> None:
    await gateway.put(LISTENER, json={"url": f"{simulator_url}/control/thingspace/drain"})

    trial = (await gateway.post(f"{LISTENER}/test")).json()

    assert trial["arrived"] is False


async def test_a_listener_that_is_not_there_cannot_be_tried(gateway: httpx.AsyncClient) -> None:
    assert (await gateway.post(f"{LISTENER}/test")).status_code == 404


async def test_a_registration_that_was_lost_is_noticed(
    gateway: httpx.AsyncClient, app: FastAPI, simulator: Starlette
) -> None:
    await gateway.put(LISTENER)
    async with app.state.storage.database.transaction() as session:
        await session.execute(text("UPDATE listeners SET checked_at = checked_at - interval '1 day'"))
    simulator.state.simulator.faults.put("listener_forgotten")

    await app.state.gateway.listeners.check()

    [listener] = await listed(gateway)
    assert listener["problem"] == "the provider has no registration; register again"


async def test_a_listener_that_is_lost_and_regained_is_an_event_each(
    gateway: httpx.AsyncClient, app: FastAPI, simulator: Starlette
) -> None:
    await gateway.put(LISTENER)
    simulator.state.simulator.faults.put("listener_forgotten")
    for _ in range(2):
        async with app.state.storage.database.transaction() as session:
            await session.execute(text("UPDATE listeners SET checked_at = checked_at - interval '1 day'"))
        await app.state.gateway.listeners.check()
    lost = (await listed(gateway))[0]

    regained = (await gateway.put(LISTENER)).json()

    events = (await gateway.get("/events", params={"types": "listener.*"})).json()["events"]
    told = [(event["type"], event["data"]["problem"], event["data"]["url"]) for event in events]
    hidden = f"{gateway.base_url}/callbacks/thingspace/…"
    assert told == [("listener.lost", lost["problem"], hidden), ("listener.regained", None, hidden)]
    assert events[1]["data"] == {**regained, "url": hidden}
    assert {event["subject"] for event in events} == {f"listener/{ACCOUNT}/DeviceLocation"}


async def test_without_a_public_address_one_has_to_be_named(database_url: str, simulator_url: str) -> None:
    async with (
        serving(create_app(settings(database_url))) as url,
        httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as gateway,
    ):
        response = await gateway.put(LISTENER)

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/url")
    assert "GATEWAY_PUBLIC_URL" in response.text


async def test_the_listener_fixed_by_the_settings_is_listed_and_verified_once_registered(
    database_url: str, simulator_url: str, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_TOKEN", TOKEN)
    public = f"http://127.0.0.1:{free_port}"
    app = create_app(settings(database_url, public_url=public))
    async with serving(app, port=free_port) as url, httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as gateway:
        [fixed] = await listed(gateway)
        [registered] = [(await gateway.put(LISTENER)).json()]
        await gateway.post(f"{LISTENER}/test")
        callbacks = (await gateway.get("/callbacks")).json()["callbacks"]

    assert (fixed["managed"], fixed["account"], fixed["service"]) == (False, ACCOUNT, "DeviceLocation")
    assert registered["url"] == f"{public}/callbacks/thingspace/{TOKEN}"
    assert [callback["signature"] for callback in callbacks] == ["valid"]


async def operator_key(gateway: httpx.AsyncClient) -> dict[str, str]:
    """Make a key for listeners that is no administrator's."""
    made = await gateway.post("/keys", json={"name": "operator", "scopes": ["listeners"]})
    return {"Authorization": f"Bearer {made.json()['key']}"}


async def test_a_key_that_is_no_administrators_registers_and_tries_the_gateways_own_address(
    gateway: httpx.AsyncClient,
) -> None:
    key = await operator_key(gateway)

    registered = await gateway.put(LISTENER, headers=key)
    trial = await gateway.post(f"{LISTENER}/test", headers=key)

    assert registered.status_code == 200
    assert trial.json()["arrived"] is True


async def test_a_key_that_is_no_administrators_names_no_other_address(
    gateway: httpx.AsyncClient, simulator_url: str
) -> None:
    response = await gateway.put(
        LISTENER, json={"url": f"{simulator_url}/anything"}, headers=await operator_key(gateway)
    )

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (403, "/url")
    assert await listed(gateway) == []


async def test_a_key_that_is_no_administrators_has_no_other_address_called(
    gateway: httpx.AsyncClient, simulator_url: str
) -> None:
    await gateway.put(LISTENER, json={"url": f"{simulator_url}/anything"})

    response = await gateway.post(f"{LISTENER}/test", headers=await operator_key(gateway))

    assert response.status_code == 403


async def test_an_address_of_the_settings_may_be_named(database_url: str, free_port: int, simulator_url: str) -> None:
    app = create_app(settings(database_url, port=free_port, listener_urls="https://proxy.example.com/thingspace"))
    async with serving(app, port=free_port) as url, httpx.AsyncClient(base_url=url, headers=AUTHORIZED) as gateway:
        body = {"url": "https://proxy.example.com/thingspace/token"}
        response = await gateway.put(LISTENER, json=body, headers=await operator_key(gateway))

    assert response.json()["url"] == body["url"]


async def test_the_answer_of_a_foreign_server_is_not_told_and_no_redirect_followed(
    gateway: httpx.AsyncClient,
) -> None:
    asked = []

    async def redirect(request: Request) -> Response:
        asked.append(request.url.path)
        return PlainTextResponse("a secret of the inside", 302, {"Location": "/further", "X-Inside": "a secret"})

    async with serving(Starlette(routes=[Route("/{path:path}", redirect, methods=["GET", "POST"])])) as url:
        await gateway.put(LISTENER, json={"url": f"{url}/first"})
        trial = await gateway.post(f"{LISTENER}/test")

    assert (trial.json()["arrived"], trial.json()["status"]) == (False, 302)
    assert "secret" not in trial.text
    assert asked == ["/first"]


async def test_why_a_foreign_address_cannot_be_reached_is_not_told(
    gateway: httpx.AsyncClient,
) -> None:
    details = []
    for url in (f"http://127.0.0.1:{any_port()}/x", "https://no-such-host.invalid/x"):
        await gateway.put(LISTENER, json={"url": url})
        details.append((await gateway.post(f"{LISTENER}/test")).json()["detail"])

    assert details == ["the public address could not be reached"] * 2
