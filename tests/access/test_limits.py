"""Requests in a minute and billed fixes on a day: exact, over all replicas, and closed when they cannot be counted."""

import asyncio
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.access import meter_for
from app.caller import Caller
from app.errors import Unavailable
from app.main import create_app
from app.simulator import create_simulator
from app.storage.database import Database
from tests.support.gateways import asking, settings, simulator_variables
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import DEVICE, Vendors, asked, refused, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

CURRENT = {"device": DEVICE, "maxAge": 0}


async def used(app: FastAPI) -> int:
    async with app.state.storage.database.transaction() as session:
        return int(await session.scalar(text("SELECT coalesce(sum(fixes), 0) FROM key_days")))


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_used(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    async with gateway_app.state.storage.database.transaction() as session:
        await session.execute(text("DELETE FROM key_days"))


async def test_a_key_without_limits_hears_nothing_of_them(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    response = await gateway.get("/providers", headers=await make_key("locate"))

    assert "ratelimit" not in response.headers


async def test_every_answer_tells_how_a_limited_key_stands(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key("locate", requestsPerMinute=3)

    answers = [await gateway.get("/providers", headers=key) for _ in range(3)]

    assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"minute";q=3;w=60'] * 3
    assert [answer.headers["ratelimit"].split(";t=")[0] for answer in answers] == [f'"minute";r={n}' for n in (2, 1, 0)]


async def test_one_request_too_many_is_told_when_to_come_back(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key("locate", requestsPerMinute=1)
    await gateway.get("/providers", headers=key)

    refused = await gateway.get("/providers", headers=key)

    assert refused.status_code == 429
    assert refused.json()["code"] == "TOO_MANY_REQUESTS"
    assert refused.json()["retryable"] is True
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"] == f'"minute";r=0;t={refused.headers["retry-after"]}'


async def test_the_next_minute_begins_anew(gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey) -> None:
    key = await make_key("locate", requestsPerMinute=1)
    await gateway.get("/providers", headers=key)
    async with gateway_app.state.storage.database.transaction() as session:
        await session.execute(text("UPDATE key_minutes SET began_at = began_at - interval '61 s'"))

    response = await gateway.get("/providers", headers=key)

    assert response.status_code == 200
    assert response.headers["ratelimit"] == '"minute";r=0;t=60'


async def test_limits_of_requests_are_exact_across_replicas(
    gateway: httpx.AsyncClient, make_key: MakeKey, module_database_url: str, vendors: Vendors
) -> None:
    key = await make_key("locate", requestsPerMinute=20)
    async with asking(create_app(settings(module_database_url), vendors.transport())) as other:
        answers = await asyncio.gather(
            *(client.get("/providers", headers=key) for client in (gateway, other) for _ in range(30))
        )

    assert sum(answer.status_code == 200 for answer in answers) == 20


async def test_without_a_budget_nothing_is_counted(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey, vendors: Vendors
) -> None:
    await gateway.post("/locate", json=CURRENT, headers=await make_key("locate"))

    assert await used(gateway_app) == 0


async def test_a_budget_that_is_used_up_ends_billed_calls(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate", dailyFixes=1)
    assert (await gateway.post("/locate", json=CURRENT, headers=key)).status_code == 200

    refused = await gateway.post("/locate", json=CURRENT, headers=key)

    assert refused.status_code == 429
    assert refused.json()["code"] == "QUOTA_EXCEEDED"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert len(vendors.thingspace_calls) == 1


async def test_stored_fixes_are_free(gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors) -> None:
    key = await make_key("locate", dailyFixes=1)
    await gateway.post("/locate", json=CURRENT, headers=key)

    response = await gateway.post("/locate", json={"device": DEVICE, "maxAge": 3600}, headers=key)

    assert response.status_code == 200


async def test_what_the_vendor_has_in_its_cache_is_given_back(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey, vendors: Vendors
) -> None:
    vendors.thingspace = lambda request: seen(request, age_s=7200)
    key = await make_key("locate", dailyFixes=1)

    response = await gateway.post("/locate", json={"device": DEVICE}, headers=key)

    assert response.json()["location"]["cached"] is True
    assert await used(gateway_app) == 0


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        pytest.param(httpx.ConnectError("no"), 0, id="never sent"),
        pytest.param(refused("INVALID", "The request is wrong"), 0, id="refused as a whole"),
        pytest.param(httpx.ReadTimeout("slow"), 1, id="perhaps received"),
        pytest.param(httpx.ReadError("broken"), 1, id="broken off"),
        pytest.param(httpx.Response(200, content=b"<html>"), 1, id="unreadable"),
    ],
)
async def test_only_what_certainly_was_not_done_is_given_back(
    gateway: httpx.AsyncClient,
    gateway_app: FastAPI,
    make_key: MakeKey,
    vendors: Vendors,
    answer: Any,
    counted: int,
) -> None:
    await gateway.post("/locate", json=CURRENT)
    vendors.thingspace = answer
    key = await make_key("locate", dailyFixes=5)

    await gateway.post("/locate", json=CURRENT, headers=key)
    await gateway.post("/providers/thingspace/reset")

    assert await used(gateway_app) == counted


async def test_a_batch_gets_as_many_fixes_as_are_left(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate", dailyFixes=23)
    items = [
        {"id": str(number), "device": {"imei": f"99000112345{number:04d}", "mdn": f"508555{number:04d}"}, "maxAge": 0}
        for number in range(60)
    ]

    summary = (await gateway.post("/locate/batch", json={"requests": items}, headers=key)).json()["summary"]

    assert summary == {"located": 23, "failed": 37}
    assert sum(len(asked(call)["deviceList"]) for call in vendors.thingspace_calls) == 23
    assert await used(gateway_app) == 23


async def test_a_start_counts_all_its_fixes(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey, vendors: Vendors
) -> None:
    vendors.thingspace = httpx.Response(200, json={"txid": "tx-counted"})
    key = await make_key("periodic", dailyFixes=10)
    body = {"devices": [DEVICE], "interval": 60, "count": 6}

    first = await gateway.post("/periodic", json=body, headers=key)
    second = await gateway.post("/periodic", json=body, headers=key)

    assert (first.status_code, second.status_code) == (202, 429)
    assert second.json()["code"] == "QUOTA_EXCEEDED"
    assert len(vendors.thingspace_calls) == 1
    assert await used(gateway_app) == 6


async def test_a_budget_allows_no_session_without_an_end(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("periodic", "periodic:unlimited", dailyFixes=10)

    response = await gateway.post(
        "/periodic", json={"devices": [DEVICE], "interval": 60, "unlimited": True}, headers=key
    )

    assert response.status_code == 403
    assert not vendors.thingspace_calls


async def test_what_cannot_be_counted_is_not_asked_for() -> None:
    caller = Caller(key_id="k", scopes=frozenset({"locate"}), daily_fixes=10)
    meter = meter_for(caller, Database("postgresql://nobody@127.0.0.1:1/none"))
    assert meter is not None

    with pytest.raises(Unavailable):
        await meter.reserve(1)


async def test_a_thousand_requests_at_once_spend_a_budget_of_a_hundred_exactly(
    module_database_url: str, gateway: httpx.AsyncClient, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = create_simulator()
    for name, value in simulator_variables().items():
        monkeypatch.setenv(name, value)
    key = await make_key("locate", dailyFixes=100)
    transport = httpx.ASGITransport(simulator)
    async with (
        asking(create_app(settings(module_database_url), transport)) as one,
        asking(create_app(settings(module_database_url), transport)) as other,
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as control,
    ):
        device = await a_device(control)
        before = await billed(control)
        questions = [
            client.post("/locate", json={"device": {**device, "name": str(number)}, "maxAge": 0}, headers=key)
            for number in range(500)
            for client in (one, other)
        ]

        answers = await asyncio.gather(*questions)
        after = await billed(control)

    codes = [answer.json().get("code", "located") for answer in answers]
    assert {code: codes.count(code) for code in set(codes)} == {"located": 100, "QUOTA_EXCEEDED": 900}
    assert after - before == 100


async def a_device(control: httpx.AsyncClient) -> dict[str, str]:
    device = (await control.get("/control/devices")).json()["devices"][0]
    return {"imei": device["imei"], "mdn": device["mdn"]}


async def billed(control: httpx.AsyncClient) -> int:
    return int((await control.get("/control/counters")).json()["counts"].get("thingspace.fixes.billed", 0))
