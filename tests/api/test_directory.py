"""Devices of which one identifier is known, completed from ThingSpace's own device list."""

from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import ACCOUNT, IMEI, MDN, Vendors, asked

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAIR = {"imei": IMEI, "mdn": MDN}
FRESH: dict[str, Any] = {"maxAge": 0}


@pytest.mark.parametrize(("given", "missing"), [("imei", "mdn"), ("mdn", "imei")])
async def test_the_other_identifier_is_taken_from_the_device_list(
    gateway: httpx.AsyncClient, vendors: Vendors, given: str, missing: str
) -> None:
    vendors.listed = [PAIR]

    answer = await gateway.post("/locate", json={"device": {given: PAIR[given]}, **FRESH})

    assert answer.status_code == 200
    assert answer.json()["device"][missing] == PAIR[missing]
    question = asked(vendors.list_calls[0])
    assert question == {"accountName": ACCOUNT, "deviceId": {"id": PAIR[given], "kind": given}}


async def test_the_device_list_teaches_the_alias_book(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.listed = [PAIR]

    for _ in range(3):
        answer = await gateway.post("/locate", json={"device": {"mdn": MDN}, **FRESH})
        assert answer.status_code == 200

    assert len(vendors.list_calls) == 1


async def test_what_the_list_does_not_hold_is_asked_for_and_not_looked_up_again(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    answers = [await gateway.post("/locate", json={"device": {"mdn": "5085550998"}}) for _ in range(3)]

    assert {answer.json()["code"] for answer in answers} == {"MISSING_IDENTIFIER"}
    assert len(vendors.list_calls) == 1


async def test_a_list_that_pairs_something_else_completes_nothing(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.listed = [{"mdn": "5085550997"}]

    answer = await gateway.post("/locate", json={"device": {"mdn": "5085550997"}})

    assert answer.json()["code"] == "MISSING_IDENTIFIER"


async def test_a_key_is_not_shown_what_the_list_leads_to_beyond_its_reach(
    gateway: httpx.AsyncClient, vendors: Vendors, make_key: MakeKey
) -> None:
    vendors.listed = [PAIR]
    key = await make_key(scopes=["locate"], devices=["5085550101", "990001123456790"])

    answer = await gateway.post("/locate", json={"device": {"mdn": MDN}, **FRESH}, headers=key)

    assert answer.status_code in (403, 422)
    assert IMEI not in answer.text
    assert not vendors.thingspace_calls


async def test_an_unlimited_session_is_started_with_the_mdn_of_the_list(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.listed = [PAIR]
    vendors.thingspace = httpx.Response(200, json={"transactionID": "t-1", "status": "QUEUED"})

    answer = await gateway.post("/periodic", json={"devices": [{"imei": IMEI}], "interval": 300, "unlimited": True})

    assert answer.status_code == 202
    assert asked(vendors.thingspace_calls[0])["deviceList"][0]["mdn"] == MDN


async def test_it_can_be_turned_off(database_url: str, vendors: Vendors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_DIRECTORY", "false")
    vendors.listed = [PAIR]

    async with asking(create_app(settings(database_url), vendors.transport())) as client:
        answer = await client.post("/locate", json={"device": {"mdn": MDN}})

    assert answer.json()["code"] == "MISSING_IDENTIFIER"
    assert not vendors.list_calls
