import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic_settings import BaseSettings

from app.errors import ConsentRequired, OutcomeUnknown, ProviderThrottled, ProviderUnavailable
from app.main import create_app
from app.model import AccountName, PeriodicPlan, TransactionId
from app.provider import Provider, Vault
from app.storage.writer import Entry
from tests.support.gateways import asking, settings
from tests.support.reports import located
from tests.support.trackers import ACCOUNT, StubTracker, provider_with

IMEI = "990001123456782"
MDN = "5085550101"
DEVICE = {"imei": IMEI, "mdn": MDN}
START = {"devices": [DEVICE], "interval": 300, "count": 6}
KEY = {"Idempotency-Key": '"once"'}


class StubModule:
    """A provider's folder, as the registry would list it."""

    Settings = BaseSettings

    def __init__(self, tracker: StubTracker | None, account: AccountName | None = ACCOUNT) -> None:
        self._tracker, self._account = tracker, account

    def build(self, transport: object | None = None, *, vault: Vault | None = None) -> Provider:
        return provider_with(self._tracker, account=self._account)


@pytest.fixture
def tracker() -> StubTracker:
    return StubTracker()


@pytest.fixture
def app(database_url: str, tracker: StubTracker) -> FastAPI:
    return create_app(settings(database_url), providers=(StubModule(tracker),))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


async def report(app: FastAPI, transaction_id: str, imei: str = IMEI, mdn: str = MDN) -> None:
    """Store a report as a callback would bring it."""
    now = datetime.now(UTC)
    row = located(now, imei=imei, mdn=mdn, transaction=transaction_id, received_at=now)
    await app.state.storage.writer.submit(Entry(reports=(row,)))


def pointers(problem: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


async def test_a_start_is_accepted_as_the_contract_says(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    response = await client.post("/periodic", json={**START, "account": "0844559123-00009", "maxAge": 60})

    session = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/periodic/{session['id']}"
    assert session == {
        "id": session["id"],
        "transactionId": "start-1",
        "state": "active",
        "account": "0844559123-00009",
        "interval": 300,
        "count": 6,
        "unlimited": False,
        "startDelay": 0,
        "maxAge": 60,
        "devices": {"total": 1},
        "reports": {"expected": 6, "due": 0, "received": 0, "failed": 0, "missing": 0, "ended": 0},
        "createdAt": session["createdAt"],
        "startedAt": session["startedAt"],
        "endsAt": session["endsAt"],
        "endedAt": None,
        "stopRequestedAt": None,
        "problem": None,
    }
    (plan,) = tracker.starts
    assert (plan.account, plan.interval_s, plan.count, plan.max_age_s) == ("0844559123-00009", 300, 6, 60)


@pytest.mark.parametrize("unlimited", [{"unlimited": True}, {"unlimited": True, "count": None}])
async def test_unlimited_has_to_be_asked_for(
    client: httpx.AsyncClient, tracker: StubTracker, unlimited: dict[str, Any]
) -> None:
    response = await client.post("/periodic", json={"devices": [DEVICE], "interval": 60, **unlimited})

    assert (response.status_code, response.json()["unlimited"]) == (202, True)
    assert tracker.starts[0].count is None


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        pytest.param({"count": None}, "INVALID_ARGUMENT", "/count", id="neither count nor unlimited"),
        pytest.param({"unlimited": True}, "INVALID_ARGUMENT", "/count", id="both"),
        pytest.param({"count": None, "unlimited": False}, "INVALID_ARGUMENT", "/count", id="not unlimited, no count"),
        pytest.param({"count": 0}, "INVALID_ARGUMENT", "/count", id="no fix"),
        pytest.param({"count": 1001}, "INVALID_ARGUMENT", "/count", id="too many fixes"),
        pytest.param({"interval": 0}, "INVALID_ARGUMENT", "/interval", id="no interval"),
        pytest.param({"interval": 1_036_801}, "INVALID_ARGUMENT", "/interval", id="interval too long"),
        pytest.param({"interval": "300"}, "INVALID_ARGUMENT", "/interval", id="interval as text"),
        pytest.param({"startDelay": 86_401}, "INVALID_ARGUMENT", "/startDelay", id="delay too long"),
        pytest.param({"startDelay": -1}, "INVALID_ARGUMENT", "/startDelay", id="delay negative"),
        pytest.param({"maxAge": 3601}, "INVALID_ARGUMENT", "/maxAge", id="age too great"),
        pytest.param({"devices": []}, "INVALID_ARGUMENT", "/devices", id="no device"),
        pytest.param({"devices": [{"imei": "1"}]}, "INVALID_ARGUMENT", "/devices/0/imei", id="not an IMEI"),
        pytest.param({"devices": [{**DEVICE, "mdn": "1"}]}, "INVALID_ARGUMENT", "/devices/0/mdn", id="not an MDN"),
        pytest.param({"devices": [{**DEVICE, "iccid": "1"}]}, "INVALID_ARGUMENT", "/devices/0/iccid", id="unknown"),
        pytest.param({"devices": [DEVICE, DEVICE]}, "INVALID_ARGUMENT", "/devices/1/imei", id="a device twice"),
        pytest.param(
            {"devices": [DEVICE, {"imei": "990001123456790", "mdn": MDN}]},
            "INVALID_ARGUMENT",
            "/devices/1/mdn",
            id="an MDN twice",
        ),
        pytest.param({"devices": [{}]}, "MISSING_IDENTIFIER", "/devices/0/imei", id="no identifier"),
        pytest.param(
            {"devices": [DEVICE, {"meid": "A1000049D2C3E4"}]}, "UNSUPPORTED_IDENTIFIER", "/devices/1/meid", id="MEID"
        ),
        pytest.param({"devices": [{"esn": "12345678901"}]}, "UNSUPPORTED_IDENTIFIER", "/devices/0/esn", id="ESN"),
        pytest.param({"devices": [{"mdn": MDN}]}, "UNSUPPORTED_IDENTIFIER", "/devices/0/imei", id="MDN alone"),
        pytest.param(
            {"devices": [{"imei": IMEI, "phoneNumber": "+4915112345678"}]},
            "UNSUPPORTED_IDENTIFIER",
            "/devices/0/phoneNumber",
            id="number from elsewhere",
        ),
        pytest.param({"colour": "red"}, "INVALID_ARGUMENT", "/colour", id="unknown member"),
        pytest.param({"account": ""}, "INVALID_ARGUMENT", "/account", id="empty account"),
    ],
)
async def test_what_cannot_be_asked_is_pointed_at_and_starts_nothing(
    client: httpx.AsyncClient, tracker: StubTracker, change: dict[str, Any], code: str, where: str
) -> None:
    response = await client.post("/periodic", json={**START, **change})

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, code)
    assert where in [pointer for pointer, _ in pointers(problem)]
    assert tracker.starts == []


async def test_too_many_devices_are_refused(client: httpx.AsyncClient) -> None:
    devices = [{"imei": f"{number:015d}"} for number in range(10_001)]

    response = await client.post("/periodic", json={**START, "devices": devices})

    assert (response.status_code, pointers(response.json())) == (422, [("/devices", "TOO_MANY")])


async def test_a_phone_number_stands_for_an_mdn(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    await client.post("/periodic", json={**START, "devices": [{"imei": IMEI, "phoneNumber": f"+1{MDN}"}]})

    assert [device.mdn for device in tracker.starts[0].devices] == [MDN]


async def test_an_account_is_needed_where_there_is_no_default(database_url: str, tracker: StubTracker) -> None:
    async with asking(create_app(settings(database_url), providers=(StubModule(tracker, None),))) as client:
        response = await client.post("/periodic", json=START)

    assert (response.status_code, pointers(response.json())) == (422, [("/account", "MISSING")])


async def test_without_a_tracker_it_is_not_configured(database_url: str) -> None:
    async with asking(create_app(settings(database_url), providers=(StubModule(None),))) as client:
        response = await client.post("/periodic", json=START)

    assert (response.status_code, response.json()["code"]) == (503, "PROVIDER_NOT_CONFIGURED")


async def test_an_unknown_outcome_carries_the_session_and_where_to_follow_it(
    client: httpx.AsyncClient, tracker: StubTracker
) -> None:
    tracker.refuse_start(OutcomeUnknown("No answer came.", provider="thingspace"))

    response = await client.post("/periodic", json=START, headers=KEY)
    problem = response.json()
    followed = await client.get(response.headers["location"])
    repeated = await client.post("/periodic", json=START, headers=KEY)

    assert (response.status_code, problem["code"]) == (504, "OUTCOME_UNKNOWN")
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["session"]["state"] == "unknown"
    assert followed.json()["id"] == problem["session"]["id"]
    assert followed.json()["problem"]["code"] == "OUTCOME_UNKNOWN"
    assert (repeated.status_code, repeated.json()["state"]) == (202, "unknown")
    assert repeated.headers["location"] == response.headers["location"]
    assert len(tracker.starts) == 1


async def test_a_callback_makes_an_unknown_session_active_by_itself(
    app: FastAPI, client: httpx.AsyncClient, tracker: StubTracker
) -> None:
    tracker.refuse_start(OutcomeUnknown("No answer came.", provider="thingspace"))
    where = (await client.post("/periodic", json=START)).headers["location"]

    await report(app, "t-9")

    async with asyncio.timeout(30):
        while (session := (await client.get(where)).json())["state"] != "active":
            pass
    assert (session["transactionId"], session["reports"]["received"]) == ("t-9", 1)


async def test_a_refusal_is_a_problem_and_the_session_says_so(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    tracker.refuse_start(ConsentRequired("No consent.", provider="thingspace"))

    response = await client.post("/periodic", json=START)
    (session,) = (await client.get("/periodic?state=failed")).json()["sessions"]

    assert (response.status_code, response.json()["code"]) == (403, "CONSENT_REQUIRED")
    assert session["problem"] == response.json()


async def test_a_passing_failure_says_when_to_come_back(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    tracker.refuse_start(ProviderThrottled("Too many.", provider="thingspace", retry_after_s=7))

    response = await client.post("/periodic", json=START, headers=KEY)
    tracker.on_start = None
    again = await client.post("/periodic", json=START, headers=KEY)

    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert again.status_code == 202


@pytest.mark.parametrize("text", ["once", '"once"', ' "once" '])
async def test_a_key_means_the_same_in_quotes_and_without(
    client: httpx.AsyncClient, tracker: StubTracker, text: str
) -> None:
    first = await client.post("/periodic", json=START, headers=KEY)
    again = await client.post("/periodic", json=START, headers={"Idempotency-Key": text})

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert len(tracker.starts) == 1


async def test_a_body_that_means_the_same_is_the_same(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    await client.post("/periodic", json=START, headers=KEY)
    again = await client.post(
        "/periodic",
        content=json.dumps(dict(reversed({**START, "startDelay": 0}.items())), indent=4),
        headers={**KEY, "Content-Type": "application/json"},
    )

    assert again.status_code == 202
    assert len(tracker.starts) == 1


async def test_a_key_with_another_body_is_refused(client: httpx.AsyncClient) -> None:
    await client.post("/periodic", json=START, headers=KEY)
    other = await client.post("/periodic", json={**START, "count": 7}, headers=KEY)

    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_key_whose_request_runs_is_in_progress(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    called, answered = asyncio.Event(), asyncio.Event()

    async def wait(plan: PeriodicPlan) -> TransactionId:
        called.set()
        await answered.wait()
        return TransactionId("start-1")

    tracker.on_start = wait
    first = asyncio.create_task(client.post("/periodic", json=START, headers=KEY))
    await called.wait()
    second = await client.post("/periodic", json=START, headers=KEY)
    answered.set()

    assert (second.status_code, second.json()["code"]) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert second.headers["retry-after"] == "1"
    assert (await first).status_code == 202


@pytest.mark.parametrize("text", ["", '""', '"', '"open', '"a"b"', "k" * 256, "\x7f", "ä", "tab\there"])
async def test_a_malformed_key_is_refused(client: httpx.AsyncClient, tracker: StubTracker, text: str) -> None:
    response = await client.post("/periodic", json=START, headers={"Idempotency-Key": text.encode("latin-1")})

    assert (response.status_code, pointers(response.json())) == (422, [("Idempotency-Key", "INVALID_FORMAT")])
    assert tracker.starts == []


async def test_two_keys_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/periodic", json=START, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])

    assert response.status_code == 422


async def test_an_invalid_request_leaves_its_key_free(client: httpx.AsyncClient) -> None:
    await client.post("/periodic", json={**START, "count": 0}, headers=KEY)

    assert (await client.post("/periodic", json=START, headers=KEY)).status_code == 202


async def test_sessions_are_listed_newest_first_page_by_page(client: httpx.AsyncClient) -> None:
    started = [(await client.post("/periodic", json=START)).json()["id"] for _ in range(5)]

    found: list[str] = []
    query: dict[str, str] = {"limit": "2"}
    while True:
        page = (await client.get("/periodic", params=query)).json()
        found += [session["id"] for session in page["sessions"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]

    assert sorted(found, reverse=True) == found
    assert set(found) == set(started)


async def test_sessions_are_filtered_by_state_and_account(client: httpx.AsyncClient) -> None:
    await client.post("/periodic", json=START)
    await client.post("/periodic", json={**START, "account": "other"})

    other = (await client.get("/periodic?state=active&account=other")).json()
    none = (await client.get("/periodic?state=stopped")).json()

    assert [session["account"] for session in other["sessions"]] == ["other"]
    assert none == {"sessions": [], "next": None}


@pytest.mark.parametrize(
    "query", ["state=lost", "limit=0", "limit=1001", "cursor=nothing", "account=", "account=%00", "colour=red"]
)
async def test_wrong_parameters_of_the_list_are_refused(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/periodic?{query}")

    assert response.status_code == 422
    assert pointers(response.json())[0][0] == f"/query/{query.partition('=')[0]}"


@pytest.mark.parametrize("reference", ["01JNB4C0M8V4C0M8T5Y6Z7A8B9", "t-1", "%00", "%F0%9F%92%A9", "x" * 250])
@pytest.mark.parametrize("below", ["", "/devices", "/reports"])
async def test_an_unknown_session_is_not_found(client: httpx.AsyncClient, reference: str, below: str) -> None:
    response = await client.get(f"/periodic/{reference}{below}")

    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


async def test_devices_tell_their_counts_and_last_fix(app: FastAPI, client: httpx.AsyncClient) -> None:
    devices = [DEVICE, {"imei": "990001123456790"}]
    where = (await client.post("/periodic", json={**START, "devices": devices})).headers["location"]
    await report(app, "start-1")

    first = (await client.get(f"{where}/devices?limit=1")).json()
    second = (await client.get(f"{where}/devices?limit=1&cursor={first['next']}")).json()

    (talking,), (silent,) = first["devices"], second["devices"]
    fix = talking.pop("lastFix")
    assert talking == {
        "device": {"imei": IMEI, "mdn": MDN},
        "received": 1,
        "failed": 0,
        "due": 0,
        "missing": 0,
        "ended": 0,
        "state": "active",
        "stopRequestedAt": None,
        "stoppedAt": None,
        "stopFailedAt": None,
        "endedAt": None,
        "lastError": None,
    }
    assert (fix["latitude"], fix["longitude"], fix["cached"]) == (42.09551, -71.26483, False)
    assert (await client.get(f"/reports/{fix['reportId']}")).status_code == 200
    assert (silent["device"], silent["lastFix"]) == ({"imei": "990001123456790", "mdn": None}, None)
    assert second["next"] is None


async def test_reports_of_a_session_are_found_by_either_id(app: FastAPI, client: httpx.AsyncClient) -> None:
    session = (await client.post("/periodic", json=START)).json()
    await report(app, "start-1")
    await report(app, "somebody else's")

    by_id = (await client.get(f"/periodic/{session['id']}/reports")).json()
    by_transaction = (await client.get("/periodic/start-1/reports?type=location")).json()

    assert [one["sessionId"] for one in by_id["reports"]] == [session["id"]]
    assert by_transaction == by_id


async def test_a_stop_tells_what_became_of_it(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    other = {"imei": "990001123456790", "mdn": "5085550102"}
    where = (await client.post("/periodic", json={**START, "devices": [DEVICE, other]})).headers["location"]
    tracker.stop_limit = 1
    tracker.refusals[MDN] = ProviderUnavailable("The connection failed.", provider="thingspace")

    partly = await client.delete(where)
    tracker.refusals.clear()
    wholly = await client.delete(where)
    again = await client.delete(where)

    assert partly.status_code == 200
    assert (partly.json()["state"], partly.json()["stop"]["requested"], partly.json()["stop"]["accepted"]) == (
        "active",
        2,
        1,
    )
    (failure,) = partly.json()["stop"]["failed"]
    assert (failure["imei"], failure["mdn"], failure["problem"]["code"]) == (IMEI, MDN, "PROVIDER_UNAVAILABLE")
    assert (wholly.json()["state"], wholly.json()["stop"]) == (
        "stopping",
        {"requested": 1, "accepted": 1, "failed": []},
    )
    assert again.json()["stop"] == {"requested": 0, "accepted": 0, "failed": []}


async def test_some_devices_are_stopped_by_mdn(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    other = {"imei": "990001123456790", "mdn": "5085550102"}
    await client.post("/periodic", json={**START, "devices": [DEVICE, other]})

    response = await client.delete("/periodic/start-1", params={"mdn": [MDN, "5085550199", MDN]})

    stop = response.json()["stop"]
    assert (stop["requested"], stop["accepted"]) == (2, 1)
    assert [(failure["mdn"], failure["problem"]["code"]) for failure in stop["failed"]] == [("5085550199", "NOT_FOUND")]
    assert tracker.stops == [(MDN,)]


@pytest.mark.parametrize("query", ["mdn=1", "mdn=", "mdns=5085550101"])
async def test_a_malformed_stop_is_refused(client: httpx.AsyncClient, tracker: StubTracker, query: str) -> None:
    where = (await client.post("/periodic", json=START)).headers["location"]

    response = await client.delete(f"{where}?{query}")

    assert response.status_code == 422
    assert tracker.stops == []


async def test_a_session_of_unknown_outcome_cannot_be_stopped(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    tracker.refuse_start(OutcomeUnknown("No answer came.", provider="thingspace"))
    where = (await client.post("/periodic", json=START)).headers["location"]

    response = await client.delete(where)

    assert (response.status_code, response.json()["code"]) == (409, "INCOMPATIBLE_STATE")


async def test_a_failed_session_is_stopped_already(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    tracker.refuse_start(ConsentRequired("No consent.", provider="thingspace"))
    await client.post("/periodic", json=START)
    (session,) = (await client.get("/periodic")).json()["sessions"]

    response = await client.delete(f"/periodic/{session['id']}")

    assert (response.status_code, response.json()["stop"]["requested"]) == (200, 0)


async def test_the_documentation_shows_the_key_and_the_answer(client: httpx.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"]["/periodic"]["post"]

    assert [parameter["name"] for parameter in operation["parameters"]] == ["Idempotency-Key"]
    assert operation["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/SessionAnswer")
    assert {"202", "409", "422", "504"} <= operation["responses"].keys()


async def test_null_is_absent_for_every_optional_member_of_a_start(client: httpx.AsyncClient) -> None:
    device = DEVICE | {"phoneNumber": None, "meid": None, "esn": None}
    body = START | {"devices": [device]} | dict.fromkeys(("account", "unlimited", "startDelay", "maxAge"))

    response = await client.post("/periodic", json=body)

    assert response.status_code == 202, response.text
    assert (response.json()["startDelay"], response.json()["maxAge"]) == (0, 120)


async def test_a_start_with_nulls_is_the_same_start(client: httpx.AsyncClient, tracker: StubTracker) -> None:
    written = [START, START | {"unlimited": None, "maxAge": None}, START | {"interval": 300.0, "unlimited": False}]

    ids = {(await client.post("/periodic", json=body, headers=KEY)).json()["id"] for body in written}

    assert len(ids) == len(tracker.starts) == 1
