"""Attacks with pairs of identifiers that do not belong together: the alias book believes the provider alone."""

from typing import Any

import httpx
import pytest

from tests.support.shared_gateway import MakeKey
from tests.support.vendors import CALLBACK_PATH, IMEI, MDN, WIFI, Vendors, asked, message, refused, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN_ACCOUNT = "0844559123-00002"
A = {"imei": "990007777777777", "mdn": "5087777777"}
B = {"imei": IMEI, "mdn": MDN}
MISTYPED = {"imei": A["imei"], "mdn": B["mdn"]}
NOT_OWNED = refused("INVALID_PARAMETER", "Ownership or MDN validation failed")
ABOUT_A = (A["imei"], A["mdn"])
KEYS_OF_B = [
    pytest.param([B["imei"], B["mdn"]], id="IMEI and MDN"),
    pytest.param([B["imei"]], id="IMEI"),
    pytest.param([B["mdn"]], id="MDN"),
]


def callback(device: dict[str, str], number: int = 0, **members: Any) -> dict[str, Any]:
    sent = message(number, **members)
    sent["deviceList"][0] |= {"id": device["imei"], "mdn": device["mdn"]}
    return sent


def owning(*pairs: dict[str, str]) -> Any:
    """Answer as the provider does: positions for pairs that belong together, else a refusal of the call."""
    owned = {(pair["imei"], pair["mdn"]) for pair in pairs}

    def answer(request: httpx.Request) -> httpx.Response:
        body = asked(request)
        if any((device["id"], device.get("mdn")) not in owned for device in body["deviceList"]):
            return NOT_OWNED
        return httpx.Response(200, json={"transactionID": "t-1"}) if "periodic" in request.url.path else seen(request)

    return answer


async def refused_start(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    started = await gateway.post("/periodic", json={"devices": [MISTYPED], "interval": 60, "count": 1})
    assert started.status_code == 403


async def fix_by_wifi(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    assert (await gateway.post("/locate", json={"device": MISTYPED, "measurements": WIFI})).status_code == 200


async def refused_question(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    assert (await gateway.post("/locate", json={"device": MISTYPED, "maxAge": 0})).status_code == 403


async def refused_batch(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    question = {"id": "a", "device": MISTYPED, "maxAge": 0}
    answered = await gateway.post("/locate/batch", json={"requests": [question]})
    assert answered.json()["summary"]["failed"] == 1


async def refusal_by_callback(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    sent = callback(MISTYPED, status="FAILED")
    sent["deviceList"][0].pop("positionData")
    sent["deviceList"][0]["error"] = {"type": "INVALID", "info": "Ownership or MDN validation failed"}
    assert (await gateway.post(CALLBACK_PATH, json=sent)).status_code == 200


async def accepted_start_that_a_callback_refuses(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    believed, vendors.thingspace = vendors.thingspace, httpx.Response(200, json={"transactionID": "t-1"})
    started = await gateway.post("/periodic", json={"devices": [MISTYPED], "interval": 60, "count": 1})
    assert started.status_code == 202
    vendors.thingspace = believed
    await refusal_by_callback(gateway, vendors)


async def callback_of_another_account(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    sent = callback(MISTYPED, accountName=FOREIGN_ACCOUNT)
    assert (await gateway.post(CALLBACK_PATH, json=sent)).status_code == 200


WAYS_TO_MISLEAD = [
    refused_start,
    fix_by_wifi,
    refused_question,
    refused_batch,
    refusal_by_callback,
    accepted_start_that_a_callback_refuses,
    callback_of_another_account,
]
misleading = pytest.mark.parametrize("mislead", WAYS_TO_MISLEAD)


@misleading
async def test_a_pair_that_the_provider_has_not_confirmed_completes_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, mislead: Any
) -> None:
    vendors.thingspace = owning(A, B)
    await mislead(gateway, vendors)
    calls = len(vendors.thingspace_calls)

    by_number = await gateway.post("/locate", json={"device": {"mdn": B["mdn"]}, "maxAge": 3600})
    by_imei = await gateway.post("/locate", json={"device": {"imei": A["imei"]}, "maxAge": 0})

    assert (by_number.status_code, by_number.json()["code"]) == (422, "MISSING_IDENTIFIER")
    assert (by_imei.status_code, by_imei.json()["code"]) == (422, "MISSING_IDENTIFIER")
    assert len(vendors.thingspace_calls) == calls


@misleading
async def test_a_pair_that_the_provider_has_confirmed_stays(
    gateway: httpx.AsyncClient, vendors: Vendors, mislead: Any
) -> None:
    vendors.thingspace = owning(A, B)
    for device in (A, B):
        await gateway.post("/locate", json={"device": device, "maxAge": 0})
    await mislead(gateway, vendors)

    found = [
        await gateway.post("/locate", json={"device": device, "maxAge": 0})
        for device in ({"imei": A["imei"]}, {"mdn": A["mdn"]}, {"imei": B["imei"]}, {"mdn": B["mdn"]})
    ]

    assert [one.status_code for one in found] == [200] * 4
    assert [one.json()["device"]["imei"] for one in found] == [A["imei"], A["imei"], B["imei"], B["imei"]]


@misleading
@pytest.mark.parametrize("devices", KEYS_OF_B)
async def test_a_key_for_one_device_is_never_shown_the_other(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, mislead: Any, devices: list[str]
) -> None:
    vendors.thingspace = owning(A, B)
    for one in (A, B):
        await gateway.post("/locate", json={"device": one, "maxAge": 0})
    await mislead(gateway, vendors)
    key = await make_key("locate", "periodic", "reports:read", devices=devices)

    texts = []
    for device in ({"mdn": B["mdn"]}, {"imei": B["imei"]}):
        for max_age in (0, 3600):
            question = {"device": device, "maxAge": max_age}
            texts.append((await gateway.post("/locate", json=question, headers=key)).text)
            batch = {"requests": [{"id": "b", **question}]}
            texts.append((await gateway.post("/locate/batch", json=batch, headers=key)).text)
    for path in ("/reports", f"/reports?mdn={B['mdn']}", f"/reports?imei={A['imei']}"):
        for accept in ("application/json", "text/csv"):
            shown = await gateway.get(path, headers={**key, "Accept": accept})
            texts.append(shown.text)
    paths = (
        "/positions",
        "/periodic",
        "/periodic/t-1",
        "/periodic/t-1/devices",
        f"/devices/{B['mdn']}/location",
        f"/devices/{A['imei']}/location",
    )
    texts += [(await gateway.get(path, headers=key)).text for path in paths]

    assert not [text for text in texts if any(name in text for name in ABOUT_A)]


async def test_what_the_provider_confirms_is_believed(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = owning(A, B)

    await gateway.post("/locate", json={"device": A, "maxAge": 0})
    await gateway.post("/periodic", json={"devices": [B], "interval": 60, "count": 1})

    for device in (A, B):
        found = await gateway.post("/locate", json={"device": {"mdn": device["mdn"]}, "maxAge": 0})
        assert found.json()["device"] == device


async def test_five_correct_callbacks_repair_a_false_pair(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = owning(A, B)
    await gateway.post(CALLBACK_PATH, json=callback(MISTYPED))

    for number in range(1, 6):
        await gateway.post(CALLBACK_PATH, json=callback(B, number))
    found = await gateway.post("/locate", json={"device": {"mdn": B["mdn"]}, "maxAge": 0})

    assert found.json()["device"] == B


async def test_correct_callbacks_repair_what_a_start_has_taught(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    await gateway.post(CALLBACK_PATH, json=callback(B))
    vendors.thingspace = httpx.Response(200, json={"transactionID": "t-1"})
    await gateway.post("/periodic", json={"devices": [MISTYPED], "interval": 60, "count": 1})
    vendors.thingspace = owning(A, B)

    await gateway.post(CALLBACK_PATH, json=callback(B, 1))
    found = await gateway.post("/locate", json={"device": {"mdn": B["mdn"]}, "maxAge": 0})

    assert found.json()["device"] == B


async def test_a_refusal_forgets_the_pair(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = owning(B)
    await gateway.post(CALLBACK_PATH, json=callback(MISTYPED))

    refusal = await gateway.post("/locate", json={"device": {"imei": A["imei"]}, "maxAge": 0})
    again = await gateway.post("/locate", json={"device": {"imei": A["imei"]}, "maxAge": 0})

    assert (refusal.json()["code"], again.json()["code"]) == ("DEVICE_NOT_OWNED", "MISSING_IDENTIFIER")


async def test_a_refused_start_forgets_the_pair(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = owning(B)
    await gateway.post(CALLBACK_PATH, json=callback(MISTYPED))

    await gateway.post("/periodic", json={"devices": [{"imei": A["imei"]}], "interval": 60, "count": 1})
    again = await gateway.post("/locate", json={"device": {"imei": A["imei"]}, "maxAge": 0})

    assert asked(vendors.thingspace_calls[0])["deviceList"][0]["mdn"] == MISTYPED["mdn"]
    assert again.json()["code"] == "MISSING_IDENTIFIER"


async def test_the_book_of_one_account_completes_nothing_in_another(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = owning(B)
    await gateway.post(CALLBACK_PATH, json=callback(B))
    foreign = {"account": FOREIGN_ACCOUNT, "devices": [{"imei": B["imei"]}], "interval": 60, "count": 1}

    started = await gateway.post("/periodic", json=foreign)
    located = await gateway.post("/locate", json={"device": {"imei": B["imei"], "account": FOREIGN_ACCOUNT}})
    [session] = (await gateway.get("/periodic")).json()["sessions"]
    devices = await gateway.get(f"/periodic/{session['id']}/devices")

    assert (started.status_code, located.json()["code"]) == (403, "MISSING_IDENTIFIER")
    assert B["mdn"] not in devices.text


@pytest.mark.parametrize("devices", KEYS_OF_B[:1])
async def test_no_error_tells_whether_another_device_exists(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, devices: list[str]
) -> None:
    key = await make_key("locate", devices=devices)
    question = {"device": {"mdn": B["mdn"]}, "maxAge": 0}
    unknown = await gateway.post("/locate", json=question, headers=key)
    await gateway.post(CALLBACK_PATH, json=callback(MISTYPED))

    known = await gateway.post("/locate", json=question, headers=key)

    assert known.status_code == unknown.status_code == 422
    assert known.json()["detail"] == unknown.json()["detail"]
    assert not vendors.thingspace_calls


async def test_a_key_for_an_imei_locates_it_under_the_number_that_the_provider_names(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    vendors.thingspace = owning(B)
    await gateway.post(CALLBACK_PATH, json=callback(B))
    key = await make_key("locate", devices=[B["imei"]])

    found = await gateway.post("/locate", json={"device": {"imei": B["imei"]}, "maxAge": 0}, headers=key)

    assert found.json()["device"] == B
