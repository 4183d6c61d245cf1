"""Every route, asked with restricted keys about everything of others: nothing of it comes back.

A new route fails here until it is told how to ask it, and is closed to restricted keys until `app.api.access` knows it.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.api.access import NARROWED
from app.caller import SCOPES
from app.storage.writer import Entry
from tests.support.reports import located
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, DEVICE, IMEI, MDN, Vendors, asked, message, seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN = "0844559123-00002"
RECEIVER = "https://receiver.example.com/"
FOREIGN_DEVICE = {"imei": "990007777777777", "mdn": "5087777777"}
FOREIGN_TRANSACTION = "transaction-of-others"
SECRETS = (*FOREIGN_DEVICE.values(), FOREIGN, FOREIGN_TRANSACTION)
ALL = sorted(SCOPES - {"admin"})
"""No key with the scope `admin` is restricted."""
RESTRICTIONS = [
    {"accounts": [ACCOUNT]},
    {"devices": [IMEI, MDN]},
    {"devices": ["9900011*", "50855*"]},
    {"accounts": [ACCOUNT], "devices": [IMEI, MDN]},
]
OPEN = {"/", "/healthz", "/readyz", "/callbacks/{provider}/{token}"}
ENDLESS = {"/events/stream"}
"""Tests of their own hold these to the reach of a key."""
OF_DEVICE = {"imei": FOREIGN_DEVICE["imei"], "mdn": FOREIGN_DEVICE["mdn"], "device": FOREIGN_DEVICE["imei"]}
QUERIES = {"account": FOREIGN, "transactionId": FOREIGN_TRANSACTION, **OF_DEVICE}
BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", "/locate"): [
        {"device": {**FOREIGN_DEVICE, "account": FOREIGN}, "maxAge": 10_000},
        {"device": {"mdn": FOREIGN_DEVICE["mdn"]}, "maxAge": 0},
    ],
    ("POST", "/locate/batch"): [{"requests": [{"id": "a", "device": {"imei": FOREIGN_DEVICE["imei"]}}]}],
    ("POST", "/periodic"): [{"account": FOREIGN, "devices": [FOREIGN_DEVICE], "interval": 60, "count": 1}],
    ("POST", "/keys"): [{"name": "wider", "scopes": ["locate"]}],
    ("PUT", "/listeners/{account}/{service}"): [None],
    # What is delivered is held to the reach of the key by tests of its own; an answer would only repeat the question.
    ("POST", "/subscriptions"): [{"name": "x", "url": "http://10.0.0.1/"}],
    ("PATCH", "/subscriptions/{id}"): [{"name": "x"}],
    ("POST", "/subscriptions/{id}/replay"): [{"deliveries": []}],
}


class Others(NamedTuple):
    """What belongs to others, and by what it is asked for."""

    report: str
    session: str
    callback: str
    key: str
    subscription: str


def answer(request: httpx.Request) -> httpx.Response:
    if request.method == "DELETE":
        return httpx.Response(200, json={"transactionID": FOREIGN_TRANSACTION, "success": True})
    if "callbacks" in request.url.path:
        return httpx.Response(200, json={"account": FOREIGN, "name": "DeviceLocation"}, headers={"x-secret": "s"})
    if "periodic" in request.url.path:
        is_foreign = asked(request)["accountName"] == FOREIGN
        return httpx.Response(200, json={"transactionID": FOREIGN_TRANSACTION if is_foreign else "own"})
    return seen(request)


@pytest_asyncio.fixture(loop_scope="module")
async def others(gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors) -> AsyncIterator[Others]:
    """Leave something of others wherever the gateway keeps anything."""
    vendors.thingspace = answer
    for account, device in ((ACCOUNT, DEVICE), (FOREIGN, FOREIGN_DEVICE)):
        started = await gateway.post(
            "/periodic", json={"account": account, "devices": [device], "interval": 300, "count": 2}
        )
        assert started.status_code == 202, started.text
        await gateway.post("/locate", json={"device": {**device, "account": account}, "maxAge": 0})
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
    row = located(at, account=FOREIGN, transaction=FOREIGN_TRANSACTION, **FOREIGN_DEVICE)
    await gateway_app.state.storage.writer.submit(Entry(reports=(row,)))
    await gateway.post(CALLBACK_PATH, json=message(1))
    mixed = message(2, accountName=FOREIGN, transactionID=FOREIGN_TRANSACTION)
    mixed["deviceList"][0] |= {"id": FOREIGN_DEVICE["imei"], "mdn": FOREIGN_DEVICE["mdn"]}
    await gateway.post(CALLBACK_PATH, json=mixed)
    listener = await gateway.put(
        f"/listeners/{FOREIGN}/DeviceLocation", json={"url": "https://gateway.example.com/callbacks/thingspace/secret"}
    )
    assert listener.status_code == 200, listener.text
    report = (await gateway.get("/reports", params={"account": FOREIGN})).json()["reports"][0]["id"]
    callback = (await gateway.get("/callbacks")).json()["callbacks"][0]["id"]
    key = (await gateway.post("/keys", json={"name": FOREIGN, "scopes": ["locate"], "accounts": [FOREIGN]})).json()
    subscription = (
        await gateway.post("/subscriptions", json={"name": FOREIGN, "url": RECEIVER, "account": FOREIGN})
    ).json()["id"]
    yield Others(report, FOREIGN_TRANSACTION, callback, key["id"], subscription)
    await gateway.delete(f"/subscriptions/{subscription}")


def operations(app: FastAPI) -> Iterator[tuple[str, str, list[str]]]:
    """List the operations of the document, with the names of their query parameters."""
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            parameters = operation.get("parameters", [])
            yield method.upper(), path, [one["name"] for one in parameters if one["in"] == "query"]


def paths_of(path: str, others: Others) -> list[str]:
    """Fill in what belongs to others."""
    first = path.split("/")[1]
    by_name: dict[str, list[str]] = {
        "{reference}": [others.session],
        "{identifier}": list(FOREIGN_DEVICE.values()),
        "{account}": [FOREIGN],
        "{service}": ["DeviceLocation"],
        "{name}": ["thingspace"],
        "{id}": {
            "reports": [others.report],
            "callbacks": [others.callback],
            "keys": [others.key],
            "subscriptions": [others.subscription],
        }.get(first, []),
    }
    filled = [path]
    for name, values in by_name.items():
        if name in path:
            filled = [one.replace(name, value) for one in filled for value in values]
    assert filled, f"say above how to ask {path}"
    assert not [one for one in filled if "{" in one], f"say above how to ask {path}"
    return filled


def requests(app: FastAPI, others: Others) -> Iterator[tuple[str, str, Any]]:
    for method, path, names in operations(app):
        if path in OPEN | ENDLESS:
            continue
        for filled in paths_of(path, others):
            for body in BODIES.get((method, path), [None]):
                yield method, filled, body
            for name, value in QUERIES.items():
                if name in names:
                    yield method, f"{filled}?{name}={value}", None


@pytest.mark.parametrize("restriction", RESTRICTIONS, ids=str)
async def test_no_route_shows_a_restricted_key_anything_of_others(
    gateway: httpx.AsyncClient,
    gateway_app: FastAPI,
    make_key: MakeKey,
    others: Others,
    restriction: dict[str, Any],
) -> None:
    key = await make_key(*ALL, **restriction)

    shown = {}
    for method, path, body in requests(gateway_app, others):
        response = await gateway.request(method, path, json=body, headers=key)
        assert response.status_code < 500, (method, path, response.text)
        found = [secret for secret in SECRETS if secret in response.text or secret in str(response.headers)]
        if found:
            shown[method, path] = found

    assert not shown


@pytest.mark.parametrize("restriction", RESTRICTIONS, ids=str)
async def test_no_route_lets_a_restricted_key_change_anything_of_others(
    gateway: httpx.AsyncClient,
    gateway_app: FastAPI,
    make_key: MakeKey,
    vendors: Vendors,
    others: Others,
    restriction: dict[str, Any],
) -> None:
    key = await make_key(*ALL, **restriction)
    calls = len(vendors.thingspace_calls)
    before = {path: (await gateway.get(path)).json() for path in ("/listeners", "/periodic", "/keys", "/callbacks")}

    done = {}
    for method, path, body in requests(gateway_app, others):
        if method != "GET":
            response = await gateway.request(method, path, json=body, headers=key)
            if response.is_success and not path.startswith(("/locate/batch", "/callbacks/replay")):
                done[method, path] = response.text

    assert not done
    assert len(vendors.thingspace_calls) == calls
    assert {path: (await gateway.get(path)).json() for path in before} == before


async def test_every_route_that_a_restricted_key_may_call_is_in_the_document(gateway_app: FastAPI) -> None:
    known = {(path.split("/")[1], method) for method, path, _ in operations(gateway_app)}

    assert not [one for first, methods in NARROWED.items() for one in {(first, method) for method in methods} - known]


async def test_a_route_that_nobody_has_narrowed_is_closed_to_restricted_keys(
    gateway: httpx.AsyncClient, make_key: MakeKey
) -> None:
    key = await make_key(*ALL, accounts=[ACCOUNT])

    response = await gateway.get("/something-new", headers=key)

    assert response.status_code == 403


@pytest.mark.parametrize("restriction", RESTRICTIONS[1:], ids=str)
async def test_a_key_for_some_devices_has_nothing_to_do_with_listeners(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors, restriction: dict[str, Any]
) -> None:
    key = await make_key("listeners", **restriction)
    path = f"/listeners/{ACCOUNT}/DeviceLocation"

    answers = [
        await gateway.get("/listeners", headers=key),
        await gateway.put(path, headers=key),
        await gateway.delete(path, headers=key),
        await gateway.post(f"{path}/test", headers=key),
    ]

    assert [one.status_code for one in answers] == [403] * 4
    assert not vendors.thingspace_calls


async def test_providers_list_the_listeners_of_the_keys_accounts_alone(
    gateway: httpx.AsyncClient, make_key: MakeKey, others: Others
) -> None:
    def accounts(response: httpx.Response) -> set[str]:
        return {one["account"] for state in response.json()["providers"] for one in state["listeners"]}

    own = await gateway.get("/providers", headers=await make_key("locate", accounts=[ACCOUNT]))
    some = await gateway.get("/providers", headers=await make_key("locate", devices=[IMEI]))
    every = await gateway.get("/providers")

    assert (accounts(own), accounts(some), accounts(every)) == ({ACCOUNT}, set(), {ACCOUNT, FOREIGN})


async def test_a_session_of_which_a_device_was_erased_is_hidden_from_keys_for_devices(
    gateway: httpx.AsyncClient, make_key: MakeKey, vendors: Vendors
) -> None:
    vendors.thingspace = answer
    body = {"devices": [DEVICE, FOREIGN_DEVICE], "interval": 300, "count": 2}
    session = (await gateway.post("/periodic", json=body)).json()["id"]
    key = await make_key("periodic", devices=[IMEI, MDN])

    seen_by_key = []
    for erased in (FOREIGN_DEVICE, DEVICE):
        answered = await gateway.delete(f"/devices/{erased['imei']}?force=true")
        assert answered.status_code == 200, answered.text
        seen_by_key.append((await gateway.get(f"/periodic/{session}", headers=key)).status_code)

    assert seen_by_key == [404, 404]
    assert (await gateway.get("/periodic", headers=key)).json()["sessions"] == []
