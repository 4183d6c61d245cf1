"""Attacks across accounts by callbacks: account and transaction together name a session."""

from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.support.shared_gateway import MakeKey
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, IMEI, MDN, Vendors, asked, message, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN_ACCOUNT = "0844559123-00002"
FOREIGN_DEVICE = {"imei": "990007777777777", "mdn": "5087777777"}
DEVICE = {"imei": IMEI, "mdn": MDN}
TRANSACTION = "of-the-foreign-session"


def answer(request: httpx.Request) -> httpx.Response:
    """Answer starts, stops, registrations and questions of every account."""
    if "callbacks" in request.url.path:
        return httpx.Response(200, json={"account": "any", "name": "DeviceLocation"})
    if request.method == "DELETE":
        return httpx.Response(200, json={"transactionID": TRANSACTION})
    if "periodic" in request.url.path:
        own = asked(request)["accountName"] == ACCOUNT
        return httpx.Response(200, json={"transactionID": "own" if own else TRANSACTION})
    return seen(request)


def callback(device: dict[str, str], **members: Any) -> dict[str, Any]:
    sent = message(7, **{"transactionID": TRANSACTION, **members})
    sent["deviceList"][0] |= {"id": device["imei"], "mdn": device["mdn"]}
    return sent


@pytest_asyncio.fixture(loop_scope="module")
async def session(gateway: httpx.AsyncClient, vendors: Vendors) -> str:
    """An unlimited session of the foreign account; its id."""
    vendors.thingspace = answer
    body = {"account": FOREIGN_ACCOUNT, "devices": [FOREIGN_DEVICE], "interval": 60, "unlimited": True}
    started = await gateway.post("/periodic", json=body)
    assert started.status_code == 202, started.text
    session: str = started.json()["id"]
    return session


LIES = [
    pytest.param({"accountName": ACCOUNT}, id="its own account"),
    pytest.param({"accountName": FOREIGN_ACCOUNT}, id="the foreign account"),
    pytest.param({"accountName": None}, id="no account"),
]
lying = pytest.mark.parametrize("lie", LIES)


@lying
async def test_no_callback_to_another_address_counts_for_a_session(
    gateway: httpx.AsyncClient, session: str, lie: dict[str, Any]
) -> None:
    before = (await gateway.get(f"/periodic/{session}")).json()

    for sent in (
        callback(FOREIGN_DEVICE, **lie),
        callback(FOREIGN_DEVICE, reportType="STOP_PERIODIC_LOCATION_RESPONSE", **lie),
    ):
        assert (await gateway.post(CALLBACK_PATH, json=sent)).status_code == 200

    devices = (await gateway.get(f"/periodic/{session}/devices")).json()["devices"]
    assert (await gateway.get(f"/periodic/{session}")).json() == before
    assert (devices[0]["received"], devices[0]["lastFix"]) == (0, None)
    assert (await gateway.get(f"/periodic/{session}/reports")).json()["reports"] == []


@lying
async def test_a_session_can_be_stopped_whatever_came_to_another_address(
    gateway: httpx.AsyncClient, vendors: Vendors, session: str, lie: dict[str, Any]
) -> None:
    sent = callback(FOREIGN_DEVICE, reportType="STOP_PERIODIC_LOCATION_RESPONSE", **lie)
    await gateway.post(CALLBACK_PATH, json=sent)

    stopped = (await gateway.delete(f"/periodic/{session}")).json()

    assert stopped["stop"]["accepted"] == 1
    assert vendors.thingspace_calls[-1].method == "DELETE"


@lying
async def test_no_callback_to_another_address_moves_a_device(
    gateway: httpx.AsyncClient, vendors: Vendors, session: str, lie: dict[str, Any]
) -> None:
    await gateway.post(CALLBACK_PATH, json=callback(FOREIGN_DEVICE, **lie))
    calls = len(vendors.thingspace_calls)

    asked_for = {"device": {**FOREIGN_DEVICE, "account": FOREIGN_ACCOUNT}, "maxAge": 1_000_000_000}
    located = await gateway.post("/locate", json=asked_for)
    listed = await gateway.get("/positions", params={"account": FOREIGN_ACCOUNT})

    assert located.json()["location"]["cached"] is False or len(vendors.thingspace_calls) > calls
    assert [one["transactionId"] for one in listed.json()["positions"]] == [None]


@lying
async def test_the_foreign_accounts_keys_see_nothing_of_it(
    gateway: httpx.AsyncClient, make_key: MakeKey, session: str, lie: dict[str, Any]
) -> None:
    key = await make_key("reports:read", "callbacks", accounts=[FOREIGN_ACCOUNT])

    await gateway.post(CALLBACK_PATH, json=callback(FOREIGN_DEVICE, **lie))

    assert (await gateway.get("/reports", headers=key)).json()["reports"] == []
    assert (await gateway.get("/callbacks", headers=key)).json()["callbacks"] == []
    assert (await gateway.get(f"/devices/{FOREIGN_DEVICE['imei']}/location", headers=key)).status_code == 404


async def test_what_names_another_account_is_kept_under_its_tokens_and_flagged(
    gateway: httpx.AsyncClient, make_key: MakeKey, session: str
) -> None:
    await gateway.post(CALLBACK_PATH, json=callback(FOREIGN_DEVICE, accountName=FOREIGN_ACCOUNT))

    [report] = (await gateway.get("/reports")).json()["reports"]
    own = await gateway.get("/reports", headers=await make_key("reports:read", accounts=[ACCOUNT]))

    assert (report["account"], report["sessionId"]) == (ACCOUNT, None)
    assert "account_mismatch" in report["flags"]
    assert own.json()["reports"] == []


async def test_the_same_callback_at_the_right_address_is_no_repetition(
    gateway: httpx.AsyncClient, session: str
) -> None:
    sent = callback(FOREIGN_DEVICE, accountName=FOREIGN_ACCOUNT)
    await gateway.post(CALLBACK_PATH, json=sent)
    path = await address_of(gateway, FOREIGN_ACCOUNT)

    await gateway.post(path, json=sent)

    assert (await gateway.get(f"/periodic/{session}")).json()["reports"]["received"] == 1


async def test_two_accounts_may_have_the_same_transaction_id(
    gateway: httpx.AsyncClient, vendors: Vendors, session: str
) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": TRANSACTION})
    body = {"account": ACCOUNT, "devices": [DEVICE], "interval": 60, "count": 5}
    own = (await gateway.post("/periodic", json=body)).json()["id"]

    await gateway.post(CALLBACK_PATH, json=callback(DEVICE, accountName=ACCOUNT))

    assert (await gateway.get(f"/periodic/{own}")).json()["reports"]["received"] == 1
    assert (await gateway.get(f"/periodic/{session}")).json()["reports"]["received"] == 0


async def test_a_transaction_id_leads_a_key_to_the_session_of_its_account(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, session: str
) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": TRANSACTION})
    body = {"account": ACCOUNT, "devices": [DEVICE], "interval": 60, "count": 5}
    own = (await gateway.post("/periodic", json=body)).json()["id"]

    found = [
        (await gateway.get(f"/periodic/{TRANSACTION}", headers=await make_key("periodic", accounts=[account]))).json()
        for account in (ACCOUNT, FOREIGN_ACCOUNT)
    ]

    assert [one["id"] for one in found] == [own, session]


async def address_of(gateway: httpx.AsyncClient, account: str) -> str:
    """Register a listener of an account, and return the path of its callbacks."""
    body = {"url": "https://gateway.example.com/by-hand"}
    registered = await gateway.put(f"/listeners/{account}/DeviceLocation", json=body)
    assert registered.status_code == 200, registered.text
    app: Any = gateway._transport.app  # type: ignore[attr-defined]
    async with app.state.storage.database.transaction() as db:
        token = await db.scalar(text("SELECT token FROM listeners WHERE account = :account"), {"account": account})
    return f"/callbacks/thingspace/{token}"
