"""Keys of one account, or of some devices, against everything that belongs to others: on every route."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.caller import SCOPES
from app.storage.writer import Entry
from tests.support.reports import located
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, DEVICE, IMEI, MDN, WIFI, Vendors, asked, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN = "0844559123-00002"
FOREIGN_DEVICE = {"imei": "990007777777777", "mdn": "5087777777"}
ALL = sorted(SCOPES - {"admin"})
NOW = datetime.now(UTC).replace(microsecond=0)
OUT_OF_REACH = {"990007777777777", "5087777777", FOREIGN, "foreign-transaction"}


@pytest_asyncio.fixture(loop_scope="module")
async def two_tenants(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors
) -> AsyncIterator[dict[str, Any]]:
    """One account with a report, a session and a callback, and another with the same; gives what leads to them."""
    vendors.thingspace = lambda request: (
        httpx.Response(200, json={"txid": f"tx-{asked(request)['accountName']}", "status": "QUEUED"})
        if "periodic" in request.url.path
        else httpx.Response(200, json=[])
    )
    sessions = {}
    for account, device in ((ACCOUNT, DEVICE), (FOREIGN, FOREIGN_DEVICE)):
        body = {"account": account, "devices": [device], "interval": 300, "count": 2}
        started = await gateway.post("/periodic", json=body)
        assert started.status_code == 202, started.text
        sessions[account] = started.json()
    rows = [
        located(NOW - timedelta(seconds=5), account=ACCOUNT, transaction=None, imei=DEVICE["imei"], mdn=DEVICE["mdn"]),
        located(
            NOW - timedelta(seconds=5),
            account=FOREIGN,
            transaction="foreign-transaction",
            imei=FOREIGN_DEVICE["imei"],
            mdn=FOREIGN_DEVICE["mdn"],
        ),
        located(NOW - timedelta(seconds=5), account=None, transaction=None, imei=None, mdn=None, name="nobody's"),
    ]
    await gateway_app.state.storage.writer.submit(Entry(reports=tuple(rows)))
    await gateway.post(CALLBACK_PATH, json=message(1))
    theirs = message(2, accountName=FOREIGN, transactionID="foreign-transaction")
    theirs["deviceList"][0] |= {"deviceId": None, "id": FOREIGN_DEVICE["imei"], "mdn": FOREIGN_DEVICE["mdn"]}
    await gateway.post(CALLBACK_PATH, json=theirs)
    found = (await gateway.get("/reports", params={"account": FOREIGN})).json()["reports"]
    yield {
        "report": next(one["id"] for one in found if one["transactionId"] == "foreign-transaction"),
        "session": sessions[FOREIGN]["id"],
        "transaction": sessions[FOREIGN]["transactionId"],
        "own": sessions[ACCOUNT]["id"],
    }


@pytest.fixture(
    params=[
        {"accounts": [ACCOUNT]},
        {"devices": [IMEI, MDN]},
        {"accounts": [ACCOUNT], "devices": ["9900011*", "50855*"]},
    ]
)
def restriction(request: pytest.FixtureRequest) -> dict[str, Any]:
    restriction: dict[str, Any] = request.param
    return restriction


@pytest.mark.parametrize("accept", ["application/json", "application/geo+json", "text/csv", "application/x-ndjson"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        f"account={FOREIGN}",
        f"imei={FOREIGN_DEVICE['imei']}",
        f"mdn={FOREIGN_DEVICE['mdn']}",
        "transactionId=foreign-transaction",
        "bbox=-180,-90,180,90",
        "type=location",
    ],
)
async def test_reports_of_others_are_in_no_list_and_no_export(
    gateway: httpx.AsyncClient,
    make_key: MakeKey,
    two_tenants: dict[str, Any],
    restriction: dict[str, Any],
    query: str,
    accept: str,
) -> None:
    key = await make_key(*ALL, **restriction)

    response = await gateway.get(f"/reports?{query}", headers={**key, "Accept": accept})

    assert response.status_code == 200
    assert not [text for text in (*OUT_OF_REACH, "nobody's") if text in response.text]
    assert query or IMEI in response.text


async def test_a_session_of_others_does_not_exist(
    gateway: httpx.AsyncClient,
    make_key: MakeKey,
    two_tenants: dict[str, Any],
    restriction: dict[str, Any],
    vendors: Vendors,
) -> None:
    key = await make_key(*ALL, **restriction)
    asked_before = len(vendors.thingspace_calls)
    for reference in (two_tenants["session"], two_tenants["transaction"]):
        answers = [
            await gateway.get(f"/periodic/{reference}", headers=key),
            await gateway.get(f"/periodic/{reference}/devices", headers=key),
            await gateway.get(f"/periodic/{reference}/reports", headers=key),
            await gateway.get(f"/periodic/{reference}/reports", headers={**key, "Accept": "text/csv"}),
            await gateway.delete(f"/periodic/{reference}", headers=key),
            await gateway.delete(f"/periodic/{reference}?mdn={FOREIGN_DEVICE['mdn']}", headers=key),
        ]
        assert [answer.status_code for answer in answers] == [404] * 6
    assert len(vendors.thingspace_calls) == asked_before


async def test_sessions_of_others_are_not_listed(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any], restriction: dict[str, Any]
) -> None:
    key = await make_key(*ALL, **restriction)

    mine = (await gateway.get("/periodic", headers=key)).json()["sessions"]
    theirs = (await gateway.get("/periodic", params={"account": FOREIGN}, headers=key)).json()["sessions"]

    assert [one["id"] for one in mine] == [two_tenants["own"]]
    assert theirs == []


async def test_a_session_of_ones_own_is_open(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any], restriction: dict[str, Any]
) -> None:
    key = await make_key(*ALL, **restriction)

    for path in ("", "/devices", "/reports"):
        assert (await gateway.get(f"/periodic/{two_tenants['own']}{path}", headers=key)).status_code == 200


async def test_reports_by_session_and_single_reports_of_others_are_not_found(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any], restriction: dict[str, Any]
) -> None:
    key = await make_key(*ALL, **restriction)

    one = await gateway.get(f"/reports/{two_tenants['report']}", headers=key)
    listed = await gateway.get("/reports", params={"sessionId": two_tenants["session"]}, headers=key)

    assert one.status_code == 404
    assert listed.json()["reports"] == []


@pytest.mark.parametrize("identifier", [FOREIGN_DEVICE["imei"], FOREIGN_DEVICE["mdn"], "nobody's"])
async def test_the_position_of_others_is_not_found(
    gateway: httpx.AsyncClient,
    make_key: MakeKey,
    two_tenants: dict[str, Any],
    restriction: dict[str, Any],
    identifier: str,
) -> None:
    key = await make_key(*ALL, **restriction)

    response = await gateway.get(f"/devices/{identifier}/location", headers=key)

    assert response.status_code == 404


@pytest.mark.parametrize("query", ["", f"account={FOREIGN}", "bbox=-180,-90,180,90"])
async def test_positions_of_others_are_not_listed(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any], restriction: dict[str, Any], query: str
) -> None:
    key = await make_key(*ALL, **restriction)

    response = await gateway.get(f"/positions?{query}", headers=key)

    assert response.status_code == 200
    assert not [text for text in (*OUT_OF_REACH, "nobody's") if text in response.text]
    assert (IMEI in response.text) == (FOREIGN not in query)


@pytest.mark.parametrize(
    "device",
    [
        {**DEVICE, "account": FOREIGN},
        {**FOREIGN_DEVICE, "account": FOREIGN},
        {"imei": FOREIGN_DEVICE["imei"], "account": FOREIGN},
    ],
)
@pytest.mark.parametrize("max_age", [0, 300, None])
async def test_nobody_locates_for_an_account_of_others(
    gateway: httpx.AsyncClient,
    make_key: MakeKey,
    two_tenants: dict[str, Any],
    vendors: Vendors,
    device: Any,
    max_age: Any,
) -> None:
    key = await make_key("locate", accounts=[ACCOUNT])
    asked_before = len(vendors.thingspace_calls)
    question = {"device": device} if max_age is None else {"device": device, "maxAge": max_age}

    alone = await gateway.post("/locate", json=question, headers=key)
    batch = await gateway.post("/locate/batch", json={"requests": [{"id": "a", **question}]}, headers=key)

    assert alone.status_code == 403
    assert alone.json()["code"] == "PERMISSION_DENIED"
    assert batch.json()["results"][0]["problem"]["code"] == "PERMISSION_DENIED"
    assert len(vendors.thingspace_calls) == asked_before


async def test_a_stored_fix_of_others_is_not_handed_out_for_ones_own_account(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any], vendors: Vendors
) -> None:
    key = await make_key("locate", accounts=[ACCOUNT])
    vendors.thingspace = httpx.Response(403, json={"errorCode": "x", "errorMessage": "Ownership validation failed"})

    response = await gateway.post("/locate", json={"device": FOREIGN_DEVICE, "maxAge": 3600}, headers=key)

    assert response.status_code != 200
    assert vendors.thingspace_calls[-1].url.path.endswith("/locations")


@pytest.mark.parametrize(
    "device",
    [
        FOREIGN_DEVICE,
        {"imei": FOREIGN_DEVICE["imei"], "mdn": MDN},
        {"imei": IMEI, "mdn": FOREIGN_DEVICE["mdn"]},
        {"imei": FOREIGN_DEVICE["imei"], "name": IMEI},
        {"phoneNumber": "+15087777777"},
        {"meid": "A1000049D1E2F3"},
        {"name": "some name"},
        None,
    ],
)
async def test_nobody_locates_a_device_that_is_not_his(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, device: Any
) -> None:
    key = await make_key("locate", devices=[IMEI, MDN])
    question = {"measurements": WIFI} if device is None else {"device": device, "measurements": WIFI}

    alone = await gateway.post("/locate", json=question, headers=key)
    batch = await gateway.post("/locate/batch", json={"requests": [{"id": "a", **question}]}, headers=key)

    assert alone.status_code == 403
    assert batch.json()["results"][0]["problem"]["code"] == "PERMISSION_DENIED"
    assert not vendors.thingspace_calls
    assert not vendors.cloudlocate_calls


@pytest.mark.parametrize("allowed", [[IMEI, MDN], ["9900011*", "508555????"], ["*"]])
async def test_an_allowed_device_is_located(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, allowed: list[str]
) -> None:
    key = await make_key("locate", devices=allowed)

    response = await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0}, headers=key)

    assert response.status_code == 200


async def test_a_name_counts_where_there_is_no_identifier(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate", "reports:read", devices=["pump-*"])

    located = await gateway.post("/locate", json={"device": {"name": "pump-1"}, "measurements": WIFI}, headers=key)
    read = await gateway.get("/devices/pump-1/location", headers=key)

    assert located.status_code == 200
    assert read.status_code == 200


async def test_the_only_account_is_meant_when_none_is_named(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate", "reports:read", accounts=[FOREIGN])

    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0}, headers=key)
    await gateway.post("/locate", json={"device": {"name": "mine"}, "measurements": WIFI}, headers=key)

    assert asked(vendors.thingspace_calls[0])["accountName"] == FOREIGN
    assert len((await gateway.get("/reports", headers=key)).json()["reports"]) == 2


async def test_with_several_accounts_the_default_has_to_be_one_of_them(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("locate", accounts=[FOREIGN, "0844559123-00003"])

    response = await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0}, headers=key)

    assert response.status_code == 403
    assert not vendors.thingspace_calls


async def test_identical_questions_are_not_shared_with_those_who_see_less(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    wide = await make_key("locate")
    narrow = await make_key("locate", accounts=[FOREIGN])
    question = {"device": DEVICE, "maxAge": 0}

    await gateway.post("/locate", json=question, headers=wide)
    await gateway.post("/locate", json=question, headers=narrow)

    assert [asked(call)["accountName"] for call in vendors.thingspace_calls] == [ACCOUNT, FOREIGN]


@pytest.mark.parametrize(
    "plan",
    [
        {"account": FOREIGN, "devices": [DEVICE]},
        {"account": FOREIGN, "devices": [FOREIGN_DEVICE]},
    ],
)
async def test_nobody_starts_for_an_account_of_others(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, plan: Any
) -> None:
    key = await make_key("periodic", accounts=[ACCOUNT])

    response = await gateway.post("/periodic", json={"interval": 60, "count": 1, **plan}, headers=key)

    assert response.status_code == 403
    assert not vendors.thingspace_calls


@pytest.mark.parametrize(
    "devices",
    [[FOREIGN_DEVICE], [DEVICE, FOREIGN_DEVICE], [{"imei": IMEI, "mdn": FOREIGN_DEVICE["mdn"]}]],
)
async def test_nobody_starts_for_a_device_that_is_not_his(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, devices: Any
) -> None:
    key = await make_key("periodic", devices=[IMEI, MDN])

    response = await gateway.post("/periodic", json={"interval": 60, "count": 1, "devices": devices}, headers=key)

    assert response.status_code == 403
    assert response.json()["errors"][0]["pointer"] == f"/devices/{len(devices) - 1}"
    assert not vendors.thingspace_calls


async def test_a_session_without_an_end_needs_a_scope_of_its_own(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("periodic")

    response = await gateway.post(
        "/periodic", json={"interval": 60, "unlimited": True, "devices": [DEVICE]}, headers=key
    )

    assert response.status_code == 403
    assert "periodic:unlimited" in response.json()["detail"]
    assert not vendors.thingspace_calls


async def test_callbacks_of_others_are_neither_listed_nor_shown_nor_replayed(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any]
) -> None:
    key = await make_key("callbacks", accounts=[FOREIGN])
    every = [one["id"] for one in (await gateway.get("/callbacks")).json()["callbacks"]]
    assert len(every) == 2

    for callback in every:
        assert (await gateway.get(f"/callbacks/{callback}", headers=key)).status_code == 404
        assert (await gateway.post(f"/callbacks/{callback}/replay", headers=key)).status_code == 404
    assert (await gateway.get("/callbacks", headers=key)).json()["callbacks"] == []
    replayed = await gateway.post("/callbacks/replay?state=stored", headers=key)
    assert replayed.json() == {"stored": 0, "quarantined": 0}


async def test_a_callback_that_names_another_account_is_hidden_from_its_tokens_account(
    gateway: httpx.AsyncClient, make_key: MakeKey, two_tenants: dict[str, Any]
) -> None:
    key = await make_key("callbacks", accounts=[ACCOUNT])

    listed = (await gateway.get("/callbacks", headers=key)).json()["callbacks"]

    assert [FOREIGN in one["body"] for one in listed] == [False]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/callbacks"), ("POST", "/callbacks/replay"), ("GET", "/callbacks/x"), ("POST", "/callbacks/x/replay")],
)
async def test_raw_callbacks_are_not_for_keys_of_some_devices(
    gateway: httpx.AsyncClient, make_key: MakeKey, method: str, path: str
) -> None:
    key = await make_key("callbacks", devices=[IMEI])

    assert (await gateway.request(method, path, headers=key)).status_code in (403, 404)
    assert (await gateway.get("/callbacks", headers=key)).status_code == 403


async def test_a_report_is_shown_without_its_callback_to_keys_of_some_devices(
    gateway: httpx.AsyncClient, make_key: MakeKey
) -> None:
    await gateway.post(CALLBACK_PATH, json=message(1))
    key = await make_key("reports:read", devices=[IMEI])
    listed = (await gateway.get("/reports", headers=key)).json()["reports"]

    shown = (await gateway.get(f"/reports/{listed[0]['id']}", headers=key)).json()

    assert shown["callback"] is None


async def test_listeners_of_others_are_out_of_reach(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    key = await make_key("listeners", accounts=[FOREIGN])
    path = f"/listeners/{ACCOUNT}/DeviceLocation"

    listed = await gateway.get("/listeners", headers=key)

    assert listed.json()["listeners"] == []
    assert (await gateway.put(path, headers=key)).status_code == 403
    assert (await gateway.delete(path, headers=key)).status_code == 403
    assert (await gateway.post(f"{path}/test", headers=key)).status_code == 403
    assert not vendors.thingspace_calls


async def test_a_restricted_key_erases_nothing(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key(*ALL, accounts=[ACCOUNT])

    assert (await gateway.delete(f"/devices/{IMEI}", headers=key)).status_code == 403
