"""One question is paid for once: a gateway in front of a vendor that bills whatever it takes."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.billing_vendor import (
    BillingVendor,
    Conduct,
    answering,
    billing_vendor,
    declining,
    late,
    refusing,
    resetting,
)
from tests.support.gateways import asking, emptied, settings
from tests.support.vendors import ACCOUNT, DEVICE, WIFI

Json = dict[str, Any]

ANEW = {"device": DEVICE, "maxAge": 0}
MEASURED = {"measurements": WIFI, "provider": "cloudlocate"}
BOTH_VENDORS = pytest.mark.parametrize("question", [ANEW, MEASURED], ids=["thingspace", "cloudlocate"])


@pytest.fixture
async def vendor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BillingVendor]:
    async with billing_vendor() as (vendor, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield vendor


@pytest.fixture
async def gateway(vendor: BillingVendor, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings(database_url))
    async with asking(app) as client:
        await logged_in(client)
        await emptied(app)
        vendor.forget()
        yield client


async def logged_in(client: httpx.AsyncClient) -> None:
    """Have the gateway log in, which takes it as long as some tests give it for everything."""
    await client.post("/locate", json=ANEW, headers=await a_key(client, 1))


@BOTH_VENDORS
@pytest.mark.parametrize(
    "conduct",
    [
        pytest.param(answering(500), id="500"),
        pytest.param(answering(502), id="502"),
        pytest.param(answering(503), id="bare 503"),
        pytest.param(answering(504), id="504"),
        pytest.param(resetting, id="reset"),
    ],
)
async def test_a_call_that_was_taken_is_paid_for_once(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json, conduct: Conduct
) -> None:
    vendor.will(conduct)

    answer = await gateway.post("/locate", json=question)

    assert answer.status_code == 503
    assert (vendor.calls, vendor.billed) == (1, 1)


@BOTH_VENDORS
@pytest.mark.parametrize("refusal", [declining(429), declining(429, None), declining(503)], ids=repr)
async def test_a_call_that_was_declined_is_made_again(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json, refusal: declining
) -> None:
    vendor.will(refusal)

    answer = await gateway.post("/locate", json=question)

    assert answer.status_code == 200
    assert (vendor.calls, vendor.billed) == (2, 1)


async def settled(vendor: BillingVendor, gateway: httpx.AsyncClient) -> list[Json]:
    """Wait until the vendor has answered everything; give what the gateway has stored then."""
    async with asyncio.timeout(20):
        while vendor.unanswered:  # noqa: ASYNC110 -- the vendor tells nobody
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    reports: list[Json] = (await gateway.get("/reports?limit=1000")).json()["reports"]
    return reports


@BOTH_VENDORS
async def test_what_was_paid_for_is_kept_when_it_comes_too_late(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    vendor.will(late(1.6))

    problem = (await gateway.post("/locate", json=question | {"timeout": 0.8})).json()
    [report] = await settled(vendor, gateway)
    rows = (await gateway.get("/audit?action=locate&key=bootstrap")).json()["entries"]

    assert (problem["code"], problem["attempts"][0]["outcome"]) == ("PROVIDER_TIMEOUT", "timeout")
    assert "goes on" in problem["detail"]
    assert "maxAge" in problem["detail"]
    assert report["status"] == "located"
    assert [(row["outcome"], row["billed"]) for row in rows] == [("located", True), ("PROVIDER_TIMEOUT", None)]
    assert vendor.billed == 1


async def test_the_next_question_finds_what_came_too_late(gateway: httpx.AsyncClient, vendor: BillingVendor) -> None:
    vendor.will(late(1.6))
    await gateway.post("/locate", json=ANEW | {"timeout": 0.8})
    await settled(vendor, gateway)

    answer = await gateway.post("/locate", json=ANEW | {"maxAge": 60})

    assert answer.json()["location"]["cached"] is True
    assert vendor.billed == 1


@BOTH_VENDORS
async def test_whoever_asks_again_waits_for_the_call_that_is_under_way(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    vendor.will(late(2.4))

    answers = [await gateway.post("/locate", json=question | {"timeout": 1}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [504, 504, 200]
    assert "under way" in str(answers[1].json()["hints"])
    assert vendor.billed == 1


@BOTH_VENDORS
async def test_what_was_paid_for_is_kept_when_the_caller_has_gone(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    vendor.will(late(1.6))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(gateway.post("/locate", json=question), 0.8)
    [report] = await settled(vendor, gateway)
    [row] = (await gateway.get("/audit?action=locate&key=bootstrap")).json()["entries"]

    assert report["status"] == "located"
    assert (row["outcome"], row["billed"]) == ("located", True)


async def test_a_gateway_that_stops_waits_for_what_is_paid_for(vendor: BillingVendor, database_url: str) -> None:
    async with asking(create_app(settings(database_url, late_answer_seconds=10))) as client:
        await logged_in(client)
        vendor.will(late(1.6))
        await client.post(
            "/locate", json={"device": {"imei": "990001123456799", "mdn": "5085550199"}, "maxAge": 0, "timeout": 0.8}
        )

    async with asking(create_app(settings(database_url))) as client:
        [report] = (await client.get("/reports?mdn=5085550199")).json()["reports"]

    assert report["status"] == "located"


def devices(count: int) -> list[Json]:
    return [
        {"id": str(n), "device": {"imei": f"99000112345{n:04d}", "mdn": f"508555{n:04d}"}, "maxAge": 0}
        for n in range(count)
    ]


async def test_a_batch_that_takes_several_rounds_ends_in_time(
    gateway: httpx.AsyncClient, vendor: BillingVendor
) -> None:
    vendor.usually = late(1.6)

    answer = await gateway.post("/locate/batch", json={"requests": devices(400), "timeout": 5}, timeout=30)

    assert answer.json()["summary"] == {"located": 400, "failed": 0}
    assert vendor.billed == 400


async def test_of_a_batch_no_device_is_paid_for_and_lost(gateway: httpx.AsyncClient, vendor: BillingVendor) -> None:
    vendor.usually = late(1.2)
    batch = devices(400)

    first = await gateway.post("/locate/batch", json={"requests": batch, "timeout": 2}, timeout=30)
    billed = vendor.billed
    reports = await settled(vendor, gateway)
    recent = [item | {"maxAge": 60} for item in batch]
    second = await gateway.post("/locate/batch", json={"requests": recent, "timeout": 20}, timeout=30)

    assert first.json()["summary"]["located"] > 0
    assert len(reports) == billed
    assert second.json()["summary"] == {"located": 400, "failed": 0}
    assert vendor.billed == 400


async def test_nothing_is_asked_that_cannot_be_answered_in_time(
    gateway: httpx.AsyncClient, vendor: BillingVendor
) -> None:
    vendor.usually = late(1.2)
    for _ in range(3):
        await gateway.post("/locate", json=MEASURED)

    problem = (await gateway.post("/locate", json=MEASURED | {"timeout": 0.8})).json()

    assert (problem["code"], problem["attempts"][0]["outcome"]) == ("PROVIDER_TIMEOUT", "skipped")
    assert "Nothing was billed" in problem["detail"]
    assert vendor.billed == 3


@BOTH_VENDORS
async def test_impatient_callers_do_not_keep_the_others_from_the_vendor(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    vendor.usually = late(0.6)
    named = [question | {"device": DEVICE | {"imei": f"9900011234567{n:02d}"}} for n in range(24)]

    hasty = await asyncio.gather(*(gateway.post("/locate", json=one | {"timeout": 0.3}) for one in named[:12]))
    patient = await asyncio.gather(*(gateway.post("/locate", json=one) for one in named[12:]))

    assert {answer.status_code for answer in hasty} == {504}
    assert {answer.status_code for answer in patient} == {200}


@BOTH_VENDORS
async def test_nothing_is_sent_after_the_deadline(
    vendor: BillingVendor, database_url: str, monkeypatch: pytest.MonkeyPatch, question: Json
) -> None:
    monkeypatch.setenv("THINGSPACE_MAX_CONNECTIONS", "1")
    monkeypatch.setenv("CLOUDLOCATE_MAX_CONCURRENCY", "1")
    vendor.usually = late(1.6)
    async with asking(create_app(settings(database_url))) as client:
        await logged_in(client)
        billed = vendor.billed
        named = [question | {"device": DEVICE | {"imei": f"9900011234567{n:02d}"}, "timeout": 1} for n in range(5)]
        answers = await asyncio.gather(*(client.post("/locate", json=one) for one in named))
        await settled(vendor, client)

    assert {answer.status_code for answer in answers} <= {503, 504}
    assert vendor.billed == billed + 1


@BOTH_VENDORS
async def test_a_key_that_may_spend_nothing_is_billed_nothing(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    key = await a_key(gateway, 0)

    answer = await gateway.post("/locate", json=question, headers=key)

    assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert "retry-after" not in answer.headers
    assert vendor.billed == 0


@BOTH_VENDORS
async def test_a_budget_is_spent_exactly_by_many_at_once(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json
) -> None:
    key = await a_key(gateway, 7)
    named = [question | {"device": DEVICE | {"name": f"n{n}"}} for n in range(30)]

    answers = await asyncio.gather(*(gateway.post("/locate", json=one, headers=key) for one in named))

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (7, 23)
    assert vendor.billed == 7
    assert {0 < int(answer.headers["retry-after"]) <= 86_400 for answer in answers if answer.status_code == 429} == {
        True
    }


async def test_a_batch_spends_what_is_left_and_no_more(gateway: httpx.AsyncClient, vendor: BillingVendor) -> None:
    key = await a_key(gateway, 30)
    measured = [{"id": f"m{n}", **MEASURED, "device": {"name": f"m{n}"}} for n in range(25)]

    batch = {"requests": [*measured, *devices(25)]}
    answer = await gateway.post("/locate/batch", json=batch, headers=key, timeout=30)

    codes = [one["problem"]["code"] for one in answer.json()["results"] if "problem" in one]
    assert (len(codes), set(codes)) == (20, {"QUOTA_EXCEEDED"})
    assert vendor.billed == 30


@BOTH_VENDORS
@pytest.mark.parametrize("refusal", [declining(429, "3600"), declining(503, "3600")], ids=repr)
async def test_a_call_that_was_declined_is_given_back(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json, refusal: declining
) -> None:
    key = await a_key(gateway, 1)
    vendor.will(refusal)

    declined = await gateway.post("/locate", json=question, headers=key)
    answer = await gateway.post("/locate", json=question, headers=key)

    assert declined.status_code in {429, 503}
    assert answer.status_code == 200


@pytest.mark.parametrize("status", [403, 429, 503, 200])
async def test_an_allowance_that_is_used_up_names_no_time(
    gateway: httpx.AsyncClient, vendor: BillingVendor, status: int
) -> None:
    vendor.will(refusing(status, "ACCOUNT_USAGE_EXCEEDED", "Usage exceeded"))

    answer = await gateway.post("/locate", json=ANEW)

    assert (answer.status_code, answer.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert "retry-after" not in answer.headers
    assert vendor.calls == 1


async def test_a_thing_that_is_not_served_names_no_time(gateway: httpx.AsyncClient, vendor: BillingVendor) -> None:
    vendor.will(refusing(402, "", "Plan used up"))

    answer = await gateway.post("/locate", json=MEASURED)

    assert (answer.status_code, answer.json()["code"]) == (503, "PROVIDER_UNAVAILABLE")
    assert "retry-after" not in answer.headers
    assert vendor.calls == 1


async def test_a_key_that_may_spend_nothing_gets_what_is_free(
    gateway: httpx.AsyncClient, vendor: BillingVendor
) -> None:
    vendor.cached = True

    answer = await gateway.post("/locate", json={"device": DEVICE}, headers=await a_key(gateway, 0))

    assert answer.json()["location"]["cached"] is True
    assert "free" in str(answer.json()["hints"])
    assert vendor.billed == 0


async def test_every_request_to_a_vendor_says_who_sends_it(vendor: BillingVendor, database_url: str) -> None:
    async with asking(create_app(settings(database_url, public_url="https://gateway.example.com"))) as client:
        await client.post("/locate", json=ANEW)
        await client.post("/locate", json=MEASURED)
        await client.put(f"/listeners/{ACCOUNT}/DeviceLocation")

    paths = {request.path.rpartition("/")[2] for request in vendor.requests}
    agents = {request.headers.get("user-agent") for request in vendor.requests}
    assert {"token", "login", "locations", "cloudlocate", ACCOUNT} <= paths
    assert agents == {f"location-gateway/{version('location-gateway')}"}


async def a_key(gateway: httpx.AsyncClient, daily_fixes: int) -> dict[str, str]:
    """Make a key with a budget."""
    plan = {"name": "a test's", "scopes": ["locate"], "dailyFixes": daily_fixes}
    made = (await gateway.post("/keys", json=plan)).json()
    return {"Authorization": f"Bearer {made['key']}"}
