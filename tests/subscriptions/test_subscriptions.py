"""Subscriptions as callers use them: through the API, with a receiver on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.main import create_app
from tests.support.event_receivers import OK, EventReceiver
from tests.support.gateways import asking, settings
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, IMEI, MDN, Vendors, message
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
NOWHERE = "https://receiver.example.com/hook"


@pytest.fixture(scope="module")
def app(module_database_url: str, shared_vendors: Vendors) -> FastAPI:
    return create_app(settings(module_database_url, delivery_allow="127.0.0.0/8"), shared_vendors.transport())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def receiver(gateway: httpx.AsyncClient) -> AsyncIterator[EventReceiver]:
    async with EventReceiver().listening() as one:
        yield one
    for subscription in (await gateway.get("/subscriptions")).json()["subscriptions"]:
        await gateway.delete(f"/subscriptions/{subscription['id']}")


async def subscribe(gateway: httpx.AsyncClient, url: str, *, headers: Any = None, **members: Any) -> Json:
    response = await gateway.post("/subscriptions", json={"name": "a test's", "url": url, **members}, headers=headers)
    assert response.status_code == 201, response.text
    made: Json = response.json()
    return made


async def get(gateway: httpx.AsyncClient, made: Json, path: str = "", **parameters: Any) -> Json:
    response = await gateway.get(f"/subscriptions/{made['id']}{path}", params=parameters)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


async def shows(gateway: httpx.AsyncClient, made: Json, **members: Any) -> Json:
    """Wait until a subscription is shown with some members."""
    async with asyncio.timeout(30):
        while True:
            shown = await get(gateway, made)
            if all(shown[name] == value for name, value in members.items()):
                return shown
            await asyncio.sleep(0.02)


async def happen(gateway: httpx.AsyncClient, number: int, imei: str = IMEI, mdn: str = MDN) -> None:
    """Let a device report a fix; each number is another one."""
    [device] = message(number)["deviceList"]
    body = message(deviceList=[device | {"id": imei, "mdn": mdn}])
    response = await gateway.post(CALLBACK_PATH, content=json.dumps(body), headers={"Authorization": ""})
    assert response.status_code == 200, response.text


async def test_an_event_is_delivered_signed_as_a_cloud_event(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    made = await subscribe(gateway, receiver.url)
    receiver.secrets = [made["secret"]]

    await happen(gateway, 1)
    await until(lambda: receiver.taken)

    [one] = receiver.taken
    [event] = one.events
    assert receiver.wrong == []
    assert one.headers["content-type"] == "application/cloudevents+json"
    assert one.headers["webhook-id"] == event["id"]
    assert (event["specversion"], event["type"]) == ("1.0", "location.report.located")
    reports = (await gateway.get("/reports")).json()["reports"]
    assert event["data"] in reports


async def test_a_delivery_is_listed_with_its_attempts(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    made = await subscribe(gateway, receiver.url)
    await happen(gateway, 2)
    await until(lambda: receiver.taken)
    await shows(gateway, made, behind=0)

    [delivery] = (await get(gateway, made, "/deliveries", state="delivered"))["deliveries"]

    assert delivery["events"] == receiver.event_ids
    [attempt] = delivery["attempts"]
    assert (attempt["status"], attempt["answer"], attempt["error"]) == (200, "answer 200", None)
    shown = await get(gateway, made)
    assert (shown["state"], shown["behind"], shown["oldest"]) == ("active", 0, None)
    assert shown["lastAttempt"]["status"] == 200
    assert "secret" not in shown


async def test_batches_hold_several_events(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    made = await subscribe(gateway, receiver.url, batch={"maxEvents": 3, "maxDelay": 30})
    receiver.secrets = [made["secret"]]

    for minute in (3, 4, 5):
        await happen(gateway, minute)
    await until(lambda: receiver.taken)

    [one] = receiver.taken
    assert one.headers["content-type"] == "application/cloudevents-batch+json"
    assert len(one.events) == 3
    assert receiver.wrong == []


async def test_a_failed_delivery_is_listed_and_makes_the_subscription_failing(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    receiver.answer = lambda _: (500, {})
    made = await subscribe(gateway, receiver.url)
    await happen(gateway, 6)
    await until(lambda: receiver.received)
    await shows(gateway, made, state="failing")

    shown = await get(gateway, made)
    [delivery] = (await get(gateway, made, "/deliveries", state="retrying"))["deliveries"]

    assert shown["behind"] == 1
    assert shown["oldest"] > 0
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500]
    assert delivery["nextAttemptAt"] is not None


async def test_what_happens_during_a_pause_is_delivered_afterwards(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    made = await subscribe(gateway, receiver.url)
    path = f"/subscriptions/{made['id']}"
    assert (await gateway.patch(path, json={"state": "paused"})).json()["state"] == "paused"
    await asyncio.sleep(1.5)
    await happen(gateway, 7)
    await asyncio.sleep(0.5)
    assert receiver.received == []
    assert (await get(gateway, made))["behind"] == 1

    await gateway.patch(path, json={"state": "active"})

    await until(lambda: receiver.taken)


async def test_filters_leave_out_what_is_not_wanted(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    await subscribe(gateway, receiver.url, devices=["990001123456790"], types=["location.*"])

    await happen(gateway, 8)
    await happen(gateway, 9, "990001123456790", "5085550199")
    await until(lambda: receiver.taken)

    [event] = [event for one in receiver.taken for event in one.events]
    assert event["data"]["device"]["imei"] == "990001123456790"


async def test_a_subscription_can_begin_with_the_oldest_event(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    await happen(gateway, 10)

    await subscribe(gateway, receiver.url, start="earliest")

    await until(lambda: receiver.taken)


async def test_deliveries_are_replayed_under_the_same_ids(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    made = await subscribe(gateway, receiver.url)
    await happen(gateway, 11)
    await until(lambda: receiver.taken)
    await shows(gateway, made, behind=0)
    [delivery] = (await get(gateway, made, "/deliveries"))["deliveries"]
    path = f"/subscriptions/{made['id']}/replay"

    by_id = await gateway.post(path, json={"deliveries": [delivery["id"]]})
    await until(lambda: len(receiver.taken) == 2)
    await shows(gateway, made, behind=0)
    by_time = await gateway.post(path, json={"since": began.isoformat(), "until": datetime.now(UTC).isoformat()})
    await until(lambda: len(receiver.taken) == 3)

    assert (by_id.status_code, by_id.json()) == (202, {"deliveries": 1})
    assert (by_time.status_code, by_time.json()) == (202, {"deliveries": 1})
    assert {one.headers["webhook-id"] for one in receiver.taken} == {delivery["webhookId"]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"until": "2026-03-02T12:00:00Z"},
        {"since": "2026-03-02T12:00:00Z", "deliveries": []},
        {"since": "2026-03-02T12:00:00Z", "until": "2026-03-02T12:00:00Z"},
        {"deliveries": ["01JNB3X7Q2V4C0M8T5Y6Z7A8B9"]},
        {"deliveries": ["no id"]},
    ],
)
async def test_a_replay_of_nothing_that_there_is_is_refused(
    gateway: httpx.AsyncClient, receiver: EventReceiver, body: Json
) -> None:
    made = await subscribe(gateway, NOWHERE)

    response = await gateway.post(f"/subscriptions/{made['id']}/replay", json=body)

    assert response.status_code == 422


async def test_after_a_rotation_both_secrets_sign(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    made = await subscribe(gateway, receiver.url)
    rotated = (await gateway.post(f"/subscriptions/{made['id']}/rotate")).json()
    assert rotated["secret"] != made["secret"]

    for secret in (made["secret"], rotated["secret"]):
        receiver.secrets = [secret]
        assert (await gateway.post(f"/subscriptions/{made['id']}/test")).json()["delivered"]

    assert receiver.wrong == []
    assert all(len(one.headers["webhook-signature"].split(" ")) == 2 for one in receiver.taken)


async def test_a_test_says_what_the_receiver_answered(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    made = await subscribe(gateway, receiver.url)
    path = f"/subscriptions/{made['id']}/test"

    good = await gateway.post(path)
    receiver.answer = lambda _: (500, {})
    bad = await gateway.post(path)

    assert good.status_code == bad.status_code == 200
    assert {**good.json(), "durationMs": 0} == {
        "delivered": True,
        "status": 200,
        "answer": "answer 200",
        "error": None,
        "durationMs": 0,
    }
    assert (bad.json()["delivered"], bad.json()["status"]) == (False, 500)
    assert receiver.received[0].events[0]["type"] == "gateway.test"


async def test_a_receiver_that_is_not_there_is_said_to_be_so(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    made = await subscribe(gateway, "http://127.0.0.1:1/")

    answer = (await gateway.post(f"/subscriptions/{made['id']}/test")).json()

    assert (answer["delivered"], answer["status"]) == (False, None)
    assert answer["error"] == "no connection could be made"


async def test_a_receiver_that_is_gone_disables_its_subscription(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    receiver.answer = lambda _: (410, {})
    made = await subscribe(gateway, receiver.url)
    await happen(gateway, 13)
    await shows(gateway, made, state="disabled")

    shown = await get(gateway, made)
    assert "410" in shown["problem"]
    receiver.answer = lambda _: OK
    await gateway.patch(f"/subscriptions/{made['id']}", json={"state": "active"})
    await until(lambda: receiver.taken)
    assert (await get(gateway, made))["problem"] is None


async def test_a_definition_is_shown_as_it_was_made_and_changed(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    members = {
        "types": ["location.*", "periodic.ended"],
        "account": ACCOUNT,
        "devices": [IMEI],
        "transactionId": "t-1",
        "batch": {"maxEvents": 10, "maxDelay": 0.5},
    }
    made = await subscribe(gateway, NOWHERE, **members)
    assert {name: made[name] for name in members} == members
    assert made["secret"].startswith("whsec_")

    changed = await gateway.patch(
        f"/subscriptions/{made['id']}",
        json={"name": "new", "account": None, "devices": [], "batch": None, "transactionId": None},
    )

    assert changed.status_code == 200
    shown = changed.json()
    assert (shown["name"], shown["account"], shown["devices"], shown["batch"]) == ("new", None, [], None)
    assert shown["types"] == members["types"]
    assert (await gateway.delete(f"/subscriptions/{made['id']}")).status_code == 204
    assert (await gateway.get(f"/subscriptions/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"url": "http://10.0.0.1/"}, "/url"),
        ({"url": "https://169.254.169.254/"}, "/url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "/url"),
        ({"types": ["location.nothing"]}, "/types/0"),
        ({"devices": ["no identifier at all"]}, "/devices/0"),
        ({"start": "no cursor"}, "/start"),
        ({"batch": {"maxEvents": 0}}, "/batch/maxEvents"),
        ({"batch": {"maxDelay": 61}}, "/batch/maxDelay"),
        ({"secret": "whsec_mine"}, "/secret"),
    ],
)
async def test_a_wrong_member_is_pointed_at(
    gateway: httpx.AsyncClient, receiver: EventReceiver, members: Json, pointer: str
) -> None:
    response = await gateway.post("/subscriptions", json={"name": "x", "url": NOWHERE, **members})

    assert response.status_code == 422
    assert [field["pointer"] for field in response.json()["errors"]] == [pointer]


async def make_key(gateway: httpx.AsyncClient, *scopes: str, **members: Any) -> tuple[str, dict[str, str]]:
    made = (await gateway.post("/keys", json={"name": "a test's", "scopes": list(scopes), **members})).json()
    return made["id"], {"Authorization": f"Bearer {made['key']}"}


async def test_a_restricted_key_has_delivered_what_it_may_see_and_sees_its_own(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    _, key = await make_key(gateway, "subscriptions", devices=["990001123456790"])
    others = await subscribe(gateway, NOWHERE)
    mine = await subscribe(gateway, receiver.url, headers=key)

    await happen(gateway, 14)
    await happen(gateway, 15, "990001123456790", "5085550199")
    await until(lambda: receiver.taken)

    assert [event["data"]["device"]["imei"] for one in receiver.taken for event in one.events] == ["990001123456790"]
    listed = (await gateway.get("/subscriptions", headers=key)).json()["subscriptions"]
    assert [one["id"] for one in listed] == [mine["id"]]
    assert (await gateway.get(f"/subscriptions/{others['id']}", headers=key)).status_code == 404
    assert (await gateway.delete(f"/subscriptions/{others['id']}", headers=key)).status_code == 404


async def test_a_restricted_key_cannot_name_another_account(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    _, key = await make_key(gateway, "subscriptions", accounts=["0844559123-00002"])

    response = await gateway.post("/subscriptions", json={"name": "x", "url": NOWHERE, "account": ACCOUNT}, headers=key)

    assert response.status_code == 403


async def test_a_subscription_ends_with_the_key_that_made_it_and_never_sees_more(
    gateway: httpx.AsyncClient, receiver: EventReceiver
) -> None:
    key_id, key = await make_key(gateway, "subscriptions", devices=["990001123456790"])
    made = await subscribe(gateway, receiver.url, headers=key)
    await gateway.delete(f"/keys/{key_id}")
    shown = await shows(gateway, made, state="disabled")
    assert "key" in shown["problem"]
    disabled = await gateway.get("/events", params={"types": "subscription.disabled"})
    await happen(gateway, 16, "990001123456790", "5085550199")

    resumed = await gateway.patch(f"/subscriptions/{made['id']}", json={"state": "active"})
    await happen(gateway, 17)
    await happen(gateway, 18, "990001123456790", "5085550199")
    await until(lambda: len(receiver.taken) == 2)

    assert resumed.json()["key"] == "bootstrap"
    assert {event["data"]["device"]["imei"] for one in receiver.taken for event in one.events} == {"990001123456790"}
    assert disabled.json()["events"][-1]["data"]["id"] == made["id"]


async def test_an_erased_device_is_named_by_no_delivery(
    gateway: httpx.AsyncClient, receiver: EventReceiver, app: FastAPI
) -> None:
    imei = "990001123456840"
    made = await subscribe(gateway, receiver.url)
    await happen(gateway, 20, imei, "5085550177")
    await until(lambda: receiver.taken)
    await shows(gateway, made, behind=0)
    database = app.state.gateway.subscriptions.registry._database
    rows = "SELECT devices::text || attempts::text AS text FROM deliveries WHERE devices::text LIKE '%' || $1 || '%'"
    assert len(await database.fetch(rows, imei)) == 1

    assert (await gateway.delete(f"/devices/{imei}")).status_code == 200

    assert await database.fetch(rows, imei) == []
    [delivery] = (await get(gateway, made, "/deliveries"))["deliveries"]
    assert delivery["attempts"][0]["answer"] == ""


async def test_every_change_is_audited(gateway: httpx.AsyncClient, receiver: EventReceiver) -> None:
    made = await subscribe(gateway, receiver.url)
    path = f"/subscriptions/{made['id']}"
    await gateway.patch(path, json={"name": "new"})
    await gateway.post(f"{path}/rotate")
    await gateway.post(f"{path}/test")
    await gateway.post(f"{path}/replay", json={"deliveries": []})
    await gateway.delete(path)

    entries = (await gateway.get("/audit", params={"limit": 20})).json()["entries"]

    assert [entry["action"] for entry in reversed(entries) if entry["subject"] == made["id"]] == [
        f"subscription.{verb}" for verb in ("create", "change", "rotate", "test", "replay", "delete")
    ]
