"""Every device that is known: `/devices`."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.storage.writer import Entry
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")
OTHER = "990001123456790"
FOREIGN = "1111111111-00001"


async def store(app: FastAPI, *rows: Any) -> None:
    await app.state.storage.writer.submit(Entry(reports=rows))


async def listed(client: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    response = await client.get("/devices", params=params)
    assert response.status_code == 200, response.text
    devices: list[dict[str, Any]] = response.json()["devices"]
    return devices


async def start(client: httpx.AsyncClient, vendors: Vendors, *imeis: str) -> dict[str, Any]:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-1"})
    devices = [{"imei": imei, "mdn": f"508555{number:04}"} for number, imei in enumerate(imeis)]
    plan = {"account": ACCOUNT, "devices": devices, "interval": 300, "count": 2}
    started = await client.post("/periodic", json=plan)
    assert started.status_code == 202, started.text
    session: dict[str, Any] = started.json()
    return session


async def test_a_device_is_listed_with_its_latest_report_and_position(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON, name="pump-0417"), failed(NOON + timedelta(minutes=5)))

    (device,) = await listed(gateway)

    newest, position = (await gateway.get("/reports")).json()["reports"]
    assert device == {
        "id": IMEI,
        "device": {"imei": IMEI, "mdn": MDN, "name": "pump-0417"},
        "accounts": [ACCOUNT],
        "state": "idle",
        "sessions": [],
        "latestReport": newest,
        "latestPosition": position,
    }


async def test_a_fix_that_may_not_be_believed_is_a_report_and_no_position(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON, latitude=0, longitude=0, flags=("zero_island",)))

    (device,) = await listed(gateway)

    assert device["latestPosition"] is None
    assert device["latestReport"]["flags"] == ["zero_island"]


async def test_a_report_from_the_future_is_not_the_latest(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located(NOON), located(NOON + timedelta(days=9000), flags=("future_time",)))

    (device,) = await listed(gateway)

    assert device["latestReport"]["location"]["timestamp"] == "2026-03-02T12:00:00Z"


async def test_a_device_of_a_session_is_listed_before_it_reports(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    session = await start(gateway, vendors, IMEI)

    (device,) = await listed(gateway)

    assert device["device"]["imei"] == IMEI
    assert device["state"] == "reporting"
    assert device["sessions"] == [{"id": session["id"], "state": "active", "due": 0, "missing": 0}]
    assert (device["latestReport"], device["latestPosition"]) == (None, None)


async def test_a_device_with_a_missing_report_is_silent(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors
) -> None:
    await start(gateway, vendors, IMEI, OTHER)
    await store(gateway_app, located(NOON, mdn=None))
    await make_older(gateway_app)

    await store(gateway_app, located(NOON + timedelta(minutes=1), mdn=None))

    states = {device["id"]: device["state"] for device in await listed(gateway)}
    assert states == {IMEI: "reporting", OTHER: "silent"}


async def make_older(app: FastAPI) -> None:
    """Let all sessions have begun an hour ago."""
    async with app.state.storage.database.transaction() as db:
        await db.execute(text("UPDATE sessions SET started_at = started_at - interval '1 hour', ends_at = NULL"))


@pytest.mark.parametrize(
    ("state", "found"), [("reporting", {IMEI}), ("silent", {OTHER}), ("idle", {"990001123456808"})]
)
async def test_devices_are_found_by_state(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors, state: str, found: set[str]
) -> None:
    await start(gateway, vendors, IMEI, OTHER)
    await make_older(gateway_app)
    await store(gateway_app, located(NOON, mdn=None), located(NOON + timedelta(minutes=1), mdn=None))
    await store(gateway_app, located(NOON, imei="990001123456808", mdn=None, transaction=None))

    devices = await listed(gateway, state=state)

    assert {device["id"] for device in devices} == found


async def test_a_device_that_has_been_stopped_is_idle(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors
) -> None:
    await start(gateway, vendors, IMEI)
    await store(gateway_app, located(NOON, type="stopped", status="info"))

    (device,) = await listed(gateway)

    assert (device["state"], device["sessions"]) == ("idle", [])


@pytest.mark.parametrize(
    "search",
    [IMEI, IMEI[:14], "456782", "9900 0112 3456 782", MDN, "+1 (508) 555-0101", "550101", "pump", "PUMP-04", "0417"],
)
async def test_a_search_finds_any_part_of_any_identifier(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, search: str
) -> None:
    await store(gateway_app, located(NOON, name="Pump-0417"), located(NOON, imei=OTHER, mdn="5085559999"))

    devices = await listed(gateway, q=search)

    assert [device["id"] for device in devices] == [IMEI]


async def test_a_search_finds_a_former_number(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located(NOON))
    await store(gateway_app, located(NOON + timedelta(minutes=1), mdn="5085550999"))

    (device,) = await listed(gateway, q=MDN)

    assert device["device"]["mdn"] == "5085550999"


@pytest.mark.parametrize("search", ["%", "_", "\\", "nobody", "+4915112345678"])
async def test_a_search_takes_nothing_for_a_wildcard(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, search: str
) -> None:
    await store(gateway_app, located(NOON, name="pump-0417"))

    assert await listed(gateway, q=search) == []


async def test_a_device_known_by_its_number_is_listed_once_its_identifier_is_known(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON, imei=None))
    (by_number,) = await listed(gateway)

    await store(gateway_app, failed(NOON + timedelta(minutes=1), is_vouched=True))
    (by_id,) = await listed(gateway)

    assert (by_number["id"], by_number["device"]) == (MDN, {"mdn": MDN})
    assert (by_id["id"], by_id["device"]) == (IMEI, {"imei": IMEI, "mdn": MDN})
    assert by_id["latestPosition"] == by_number["latestPosition"]


async def test_a_device_known_by_its_name_alone_is_listed(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located(NOON, imei=None, mdn=None, name="pump-0417", account=None))

    (device,) = await listed(gateway)

    assert (device["id"], device["device"], device["accounts"]) == ("pump-0417", {"name": "pump-0417"}, [])


async def test_pages_of_devices_follow_each_other(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    imeis = [str(990001000000000 + number) for number in range(5)]
    await store(gateway_app, *(located(NOON, imei=imei, mdn=None) for imei in reversed(imeis)))

    seen, cursor = [], None
    while True:
        page = (await gateway.get("/devices", params={"limit": "2", **({"cursor": cursor} if cursor else {})})).json()
        seen += [device["id"] for device in page["devices"]]
        if (cursor := page["next"]) is None:
            break

    assert seen == imeis


async def test_a_device_of_two_accounts_is_listed_once(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located(NOON), located(NOON + timedelta(minutes=1), account=FOREIGN))

    (device,) = await listed(gateway)

    assert device["accounts"] == [ACCOUNT, FOREIGN]
    assert device["latestPosition"]["account"] == FOREIGN
    assert len(await listed(gateway, account=ACCOUNT)) == 1
    assert await listed(gateway, account="2222222222-00001") == []


@pytest.mark.parametrize("restriction", [{"accounts": [ACCOUNT]}, {"devices": [IMEI]}, {"devices": [MDN]}])
async def test_a_restricted_key_sees_its_devices_alone(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey, restriction: dict[str, Any]
) -> None:
    await store(gateway_app, located(NOON), located(NOON, imei=OTHER, mdn="5085559999", account=FOREIGN))
    key = await make_key("reports:read", **restriction)

    devices = (await gateway.get("/devices", headers=key)).json()["devices"]

    assert [device["id"] for device in devices] == [IMEI]


async def test_a_restricted_key_sees_what_its_account_knows_of_a_shared_device(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    await store(gateway_app, located(NOON), located(NOON + timedelta(minutes=1), account=FOREIGN, name="theirs"))
    key = await make_key("reports:read", accounts=[ACCOUNT])

    (device,) = (await gateway.get("/devices", headers=key)).json()["devices"]

    assert (device["accounts"], device["device"]) == ([ACCOUNT], {"imei": IMEI, "mdn": MDN})
    assert device["latestReport"]["account"] == device["latestPosition"]["account"] == ACCOUNT
    assert (await gateway.get("/devices", params={"q": "theirs"}, headers=key)).json()["devices"] == []


async def test_what_names_another_account_makes_no_device_of_it(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    await store(gateway_app, located(NOON, flags=("account_mismatch",)))
    key = await make_key("reports:read", accounts=[ACCOUNT])

    assert (await gateway.get("/devices", headers=key)).json()["devices"] == []
    assert [device["accounts"] for device in await listed(gateway)] == [[]]


async def test_an_erased_device_is_not_listed_until_it_reports_again(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON))
    await gateway.delete(f"/devices/{IMEI}")
    erased = await listed(gateway)
    await store(gateway_app, located(NOON + timedelta(minutes=1)))

    assert erased == []
    assert len(await listed(gateway)) == 1


async def test_an_erased_number_leaves_the_device_that_has_others(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON))
    await store(gateway_app, located(NOON + timedelta(minutes=1), mdn="5085550999"))
    await gateway.delete("/devices/5085550999")

    (device,) = await listed(gateway)

    assert (device["device"], await listed(gateway, q="0999")) == ({"imei": IMEI}, [])


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"state": "lost"}, "/query/state"),
        ({"q": ""}, "/query/q"),
        ({"q": "x" * 129}, "/query/q"),
        ({"cursor": "x"}, "/query/cursor"),
        ({"limit": "1001"}, "/query/limit"),
        ({"imei": IMEI}, "/query/imei"),
    ],
)
async def test_a_wrong_parameter_is_pointed_at(
    gateway: httpx.AsyncClient, params: dict[str, str], pointer: str
) -> None:
    response = await gateway.get("/devices", params=params)

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_a_key_for_one_device_sees_how_it_stands_and_not_the_session_of_others(
    gateway: httpx.AsyncClient, vendors: Vendors, make_key: MakeKey
) -> None:
    await start(gateway, vendors, IMEI, OTHER)
    key = await make_key("reports:read", devices=[IMEI])

    (device,) = (await gateway.get("/devices", headers=key)).json()["devices"]

    assert (device["id"], device["state"], device["sessions"]) == (IMEI, "reporting", [])


async def test_listing_devices_leaves_an_audit_row(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, located(NOON))
    before = (await gateway.get("/audit", params={"device": IMEI})).json()["entries"]

    await listed(gateway)

    (newest, *others) = (await gateway.get("/audit", params={"device": IMEI})).json()["entries"]
    assert (newest["action"], newest["subject"]) == ("reports.read", "1 reports of 1 devices")
    assert others == before
