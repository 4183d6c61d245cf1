"""The audit trail: what leaves a row, what stands in it, who may read it, and that nobody changes it."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from tests.support.shared_gateway import MakeKey
from tests.support.vendors import (
    ACCOUNT,
    CALLBACK_PATH,
    DEVICE,
    IMEI,
    WIFI,
    Vendors,
    asked,
    message,
    refused,
    unseen,
    unsolved,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMED = {"X-Request-Id": "the-request"}


async def rows(gateway: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    response = await gateway.get("/audit", params=query)
    assert response.status_code == 200, response.text
    entries: list[dict[str, Any]] = response.json()["entries"]
    return entries


async def newest(gateway: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    return (await rows(gateway, **query))[0]


async def test_a_location_says_who_asked_about_whom_and_what_he_was_told(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0}, headers=NAMED)

    row = await newest(gateway, action="locate")
    told = (await gateway.get(f"/reports/{row['reportId']}")).json()

    assert {name: row[name] for name in ("key", "requestId", "outcome", "device", "provider", "billed")} == {
        "key": "bootstrap",
        "requestId": "the-request",
        "outcome": "located",
        "device": IMEI,
        "provider": "thingspace",
        "billed": True,
    }
    assert told["location"]["latitude"] == 42.09551


async def test_a_stored_answer_is_told_of_and_not_billed(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})
    first = await newest(gateway, action="locate")

    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 3600})

    second = await newest(gateway, action="locate")
    assert second["id"] != first["id"]
    assert (second["billed"], second["reportId"]) == (False, first["reportId"])


@pytest.mark.parametrize(
    ("question", "vendor", "outcome"),
    [
        ({"device": DEVICE, "maxAge": 0}, refused("NOT_OPTED_IN", "The device is not opted in"), None),
        ({"measurements": WIFI}, None, "UNABLE_TO_LOCATE"),
        ({"device": {"imei": "990009999999999"}}, None, "MISSING_IDENTIFIER"),
    ],
)
async def test_a_failure_is_told_by_its_code(
    gateway: httpx.AsyncClient, vendors: Vendors, question: Any, vendor: Any, outcome: str | None
) -> None:
    vendors.cloudlocate = unsolved()
    if vendor is not None:
        vendors.thingspace = vendor

    response = await gateway.post("/locate", json=question)

    row = await newest(gateway, action="locate")
    assert row["outcome"] == response.json()["code"]
    assert outcome is None or row["outcome"] == outcome
    assert row["reportId"] is None


async def test_a_refused_attempt_leaves_a_row(gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors) -> None:
    key = await make_key("locate", accounts=["0844559123-00002"])

    await gateway.post("/locate", json={"device": {**DEVICE, "account": ACCOUNT}}, headers=key)

    row = await newest(gateway, device=IMEI)
    assert (row["outcome"], row["account"]) == ("PERMISSION_DENIED", ACCOUNT)
    assert row["key"] != "bootstrap"


async def test_every_item_of_a_batch_leaves_a_row(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    items = [{"id": "a", "device": DEVICE}, {"id": "b", "device": DEVICE}, {"id": "c", "measurements": WIFI}]

    await gateway.post("/locate/batch", json={"requests": items}, headers={"X-Request-Id": "a-batch"})

    mine = [row for row in await rows(gateway, action="locate") if row["requestId"] == "a-batch"]
    assert sorted(row["device"] or "" for row in mine) == ["", IMEI, IMEI]


async def test_those_who_share_an_answer_are_both_told_of(gateway: httpx.AsyncClient, vendors: Vendors) -> None:

    question = {"device": DEVICE, "maxAge": 0}

    await asyncio.gather(*(gateway.post("/locate", json=question, headers={"X-Request-Id": name}) for name in "xy"))

    told = {row["requestId"] for row in await rows(gateway, action="locate", limit=2)}
    assert told == {"x", "y"}


async def test_reading_a_position_leaves_a_row(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})

    shown = (await gateway.get(f"/devices/{IMEI}/location")).json()

    row = await newest(gateway, action="position.read")
    assert (row["device"], row["reportId"]) == (IMEI, shown["id"])


@pytest.mark.parametrize("path", ["/reports", "/positions", "/reports/{id}"])
async def test_reading_reports_leaves_a_row(gateway: httpx.AsyncClient, vendors: Vendors, path: str) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})
    shown = (await gateway.get(f"/devices/{IMEI}/location")).json()

    await gateway.get(path.format(id=shown["id"]), headers={"X-Request-Id": f"reading {path}"})

    row = await newest(gateway, action="reports.read")
    assert (row["requestId"], row["device"], row["subject"]) == (f"reading {path}", IMEI, "1 reports of 1 devices")
    assert row["reportId"] == (shown["id"] if "{id}" in path else None)


async def test_a_page_of_several_devices_names_none_of_them(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    for device in (DEVICE, {"name": "pump"}):
        await gateway.post("/locate", json={"device": device, "measurements": WIFI, "maxAge": 0})

    await gateway.get("/reports")

    row = await newest(gateway, action="reports.read")
    assert (row["device"], row["subject"]) == (None, "2 reports of 2 devices")


async def test_an_empty_page_shows_nothing_and_leaves_no_row(gateway: httpx.AsyncClient) -> None:
    await gateway.get("/reports", params={"imei": "990001123456790"}, headers={"X-Request-Id": "nothing there"})

    assert "nothing there" not in {row["requestId"] for row in await rows(gateway, action="reports.read")}


@pytest.mark.parametrize("accept", ["text/csv", "application/x-ndjson"])
async def test_an_export_leaves_a_row(gateway: httpx.AsyncClient, accept: str) -> None:
    await gateway.get("/reports", params={"account": ACCOUNT, "imei": IMEI}, headers={"Accept": accept})

    row = await newest(gateway, action="reports.export")
    assert (row["account"], row["device"], row["subject"], row["outcome"]) == (ACCOUNT, IMEI, accept, "accepted")


def transactions(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"txid": f"tx-{len(asked(request)) if request.content else 'stop'}"})


async def test_a_session_leaves_rows_that_its_devices_are_found_by(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = transactions
    other = {"imei": "990001123456790", "mdn": "5085550102"}
    body = {"devices": [DEVICE, other], "interval": 300, "count": 2}

    started = (await gateway.post("/periodic", json=body)).json()
    await gateway.delete(f"/periodic/{started['id']}")

    found = await rows(gateway, device=other["imei"])
    assert [(row["action"], row["outcome"], row["sessionId"]) for row in found] == [
        ("periodic.stop", "done", started["id"]),
        ("periodic.start", "accepted", started["id"]),
    ]


async def test_a_refused_start_leaves_a_row(gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors) -> None:
    key = await make_key("periodic")
    body = {"devices": [DEVICE], "interval": 300, "unlimited": True}

    await gateway.post("/periodic", json=body, headers=key)

    row = await newest(gateway, action="periodic.start")
    assert (row["outcome"], row["device"], row["billed"]) == ("PERMISSION_DENIED", IMEI, False)


async def test_changes_of_listeners_leave_rows(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    path = f"/listeners/{ACCOUNT}/Location"
    answers = [await gateway.put(path), await gateway.post(f"{path}/test"), await gateway.delete(path)]

    found = (await rows(gateway, account=ACCOUNT))[:3]

    assert [row["action"] for row in found] == ["listener.remove", "listener.test", "listener.register"]
    for row, answer in zip(found, reversed(answers), strict=True):
        assert row["outcome"] == ("done" if answer.is_success else answer.json()["code"])
        assert row["subject"] == "Location"


async def test_changes_of_keys_leave_rows(gateway: httpx.AsyncClient) -> None:
    made = (await gateway.post("/keys", json={"name": "map", "scopes": ["locate"]})).json()
    await gateway.post(f"/keys/{made['id']}/rotate")
    await gateway.delete(f"/keys/{made['id']}")

    found = [row["action"] for row in await rows(gateway) if row["subject"] == made["id"]]

    assert found == ["key.revoke", "key.rotate", "key.create"]


async def test_rows_are_found_by_key_and_time_and_listed_in_pages(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate")
    for number in range(3):
        await gateway.post("/locate", json={"measurements": WIFI}, headers={**key, "X-Request-Id": f"n{number}"})
    every = await rows(gateway, action="locate", limit=3)
    mine = every[0]["key"]

    first = (await gateway.get("/audit", params={"key": mine, "limit": 2})).json()
    second = (await gateway.get("/audit", params={"key": mine, "limit": 2, "cursor": first["next"]})).json()
    after = await rows(gateway, key=mine, since=every[0]["at"])
    before = await rows(gateway, key=mine, until=every[-1]["at"])

    assert [row["requestId"] for row in (*first["entries"], *second["entries"])] == ["n2", "n1", "n0"]
    assert second["next"] is None
    assert "n2" in {row["requestId"] for row in after}
    assert before == []


@pytest.mark.parametrize("query", ["key=%00", "who=me", "action=dance", "since=yesterday", "cursor=none"])
async def test_a_filter_that_makes_no_sense_is_refused(gateway: httpx.AsyncClient, query: str) -> None:
    assert (await gateway.get(f"/audit?{query}")).status_code == 422


@pytest.mark.parametrize(
    "change",
    ["UPDATE audit SET outcome = 'located'", "DELETE FROM audit", "TRUNCATE audit"],
)
async def test_the_database_refuses_to_change_what_is_written(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, change: str
) -> None:
    await gateway.post("/keys", json={"name": "map", "scopes": ["locate"]})
    connection = await gateway_app.state.storage.database.connect()
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await connection.execute(change)
    finally:
        await connection.close()


async def test_who_keeps_the_house_may_remove_what_is_over(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await gateway.post("/keys", json={"name": "map", "scopes": ["locate"]})
    connection = await gateway_app.state.storage.database.connect()
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL gateway.keeping_house = 'on'")
            done = await connection.execute("DELETE FROM audit WHERE action = 'key.create'")
    finally:
        await connection.close()

    assert done != "DELETE 0"


async def test_no_row_holds_a_key(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = (await make_key("locate"))["Authorization"].removeprefix("Bearer ")

    assert key not in (await gateway.get("/audit")).text


async def test_a_shared_call_is_billed_in_one_row_alone(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    question = {"device": DEVICE, "maxAge": 0}
    names = [f"sharer-{number}" for number in range(5)]

    await asyncio.gather(*(gateway.post("/locate", json=question, headers={"X-Request-Id": name}) for name in names))

    billed = [row["billed"] for row in await rows(gateway, action="locate", limit=5)]
    assert (len(vendors.thingspace_calls), sorted(billed)) == (1, [False] * 4 + [True])


async def test_a_shared_failure_is_perhaps_billed_in_one_row_alone(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = unseen("POSITION METHOD FAILURE")
    question = {"device": DEVICE, "maxAge": 0}

    await asyncio.gather(*(gateway.post("/locate", json=question) for _ in range(3)))

    billed = [row["billed"] for row in await rows(gateway, action="locate", limit=3)]
    assert (len(vendors.thingspace_calls), billed.count(None), billed.count(False)) == (1, 1, 2)


async def test_equal_items_of_a_batch_are_billed_once(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    items = [{"id": name, "device": DEVICE, "maxAge": 0} for name in "abc"]

    await gateway.post("/locate/batch", json={"requests": items})

    billed = [row["billed"] for row in await rows(gateway, action="locate", limit=3)]
    assert sorted(billed) == [False, False, True]


async def test_the_devices_of_a_session_are_shown_with_a_row(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-1"})
    body = {"devices": [DEVICE], "interval": 300, "count": 2}
    session = (await gateway.post("/periodic", json=body)).json()["id"]
    await gateway.get(f"/periodic/{session}/devices", headers={"X-Request-Id": "nothing yet"})
    await gateway.post(CALLBACK_PATH, json=message(1))

    await gateway.get(f"/periodic/{session}/devices", headers=NAMED)

    row = await newest(gateway, action="reports.read")
    assert (row["requestId"], row["account"], row["device"], row["sessionId"]) == (
        "the-request",
        ACCOUNT,
        IMEI,
        session,
    )
    assert "nothing yet" not in {one["requestId"] for one in await rows(gateway, action="reports.read")}
    assert row["id"] in {one["id"] for one in await rows(gateway, device=IMEI)}


async def test_raw_callbacks_are_shown_with_a_row(gateway: httpx.AsyncClient) -> None:
    for number in range(2):
        await gateway.post(CALLBACK_PATH, json=message(number))

    listed = (await gateway.get("/callbacks", headers={"X-Request-Id": "a list"})).json()["callbacks"]
    await gateway.get(f"/callbacks/{listed[0]['id']}", headers={"X-Request-Id": "one"})

    one, many = await rows(gateway, action="callbacks.read", limit=2)
    assert (many["requestId"], many["account"], many["subject"]) == ("a list", ACCOUNT, "2 callbacks")
    assert (one["requestId"], one["account"], one["subject"]) == ("one", ACCOUNT, listed[0]["id"])
    assert (one["device"], many["device"]) == (IMEI, IMEI)
