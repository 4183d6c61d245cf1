"""`POST /callbacks/thingspace/{token}`: what is acknowledged, what is kept, and what becomes of it."""

import asyncio
import hmac
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, IMEI, MDN, Vendors, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


async def post(gateway: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await gateway.post(
        CALLBACK_PATH, content=content, headers={"Authorization": "", "Content-Type": "application/json", **headers}
    )


async def reports(gateway: httpx.AsyncClient, **filters: str) -> list[Json]:
    found: list[Json] = (await gateway.get("/reports", params=filters)).json()["reports"]
    return found


async def kept(gateway: httpx.AsyncClient, **filters: str) -> list[Json]:
    found: list[Json] = (await gateway.get("/callbacks", params=filters)).json()["callbacks"]
    return found


async def test_an_acknowledgement_is_empty_and_needs_no_key(gateway: httpx.AsyncClient) -> None:
    response = await post(gateway, message())

    assert (response.status_code, response.content) == (200, b"")


async def test_what_was_said_is_found_by_its_transaction(gateway: httpx.AsyncClient) -> None:
    await post(gateway, message())

    [report] = await reports(gateway, transactionId="t-1")

    assert (report["account"], report["device"], report["status"]) == (ACCOUNT, {"imei": IMEI, "mdn": MDN}, "located")
    assert (report["location"]["latitude"], report["location"]["longitude"]) == (42.09551, -71.26483)
    assert report["location"]["timestamp"] == "2026-03-02T12:00:00Z"


async def test_the_raw_bytes_are_kept(gateway: httpx.AsyncClient) -> None:
    body = b' {"odd" : 1.0, "reportType":"NEW_KIND" }\n'
    await post(gateway, body)

    [callback] = await kept(gateway)

    assert callback["body"].encode() == body
    assert (callback["state"], callback["account"], callback["service"]) == ("stored", ACCOUNT, "DeviceLocation")
    assert (await gateway.get(f"/callbacks/{callback['id']}")).json() == callback


async def test_ten_times_the_same_is_one_report(gateway: httpx.AsyncClient) -> None:
    await asyncio.gather(*(post(gateway, message()) for _ in range(10)))

    assert len(await reports(gateway)) == 1
    assert len(await kept(gateway)) == 10


async def test_out_of_order_the_latest_position_is_by_the_time_of_the_fix(gateway: httpx.AsyncClient) -> None:
    for number in (5, 9, 7):
        await post(gateway, message(number))

    latest = (await gateway.get(f"/devices/{IMEI}/location")).json()

    assert latest["location"]["timestamp"] == "2026-03-02T12:00:09Z"


ODD = {
    "no transaction": {"transactionID": None},
    "unknown report type": {"reportType": "NEW_KIND_OF_REPORT"},
    "no devices": {"deviceList": []},
    "no account": {"accountName": None},
    "unknown device": {"deviceList": [{"id": "nothing like an IMEI", "kind": "X", "mdn": "-"}]},
    "device as a text": {"deviceList": IMEI},
    "members we do not know": {"surprise": {"a": [1, 2, {"b": None}]}},
    "NUL and half a surrogate": {"transactionID": "a\x00b\ud800c"},
    "a huge transaction": {"transactionID": "".join(sha256(bytes([n])).hexdigest() for n in range(200))},
    "a huge device": {"deviceList": [{"id": "".join(sha256(bytes([n])).hexdigest() for n in range(200))}]},
    "numbers as numbers": {"deviceList": [{"id": int(IMEI), "mdn": int(MDN), "positionData": {"x": 1, "y": 2}}]},
    "an impossible time": {
        "deviceList": [{"id": IMEI, "positionData": {"x": "1", "y": "2", "time": "99999999999999"}}]
    },
    "swapped axes": {"deviceList": [{"id": IMEI, "positionData": {"x": "-171.2", "y": "42.0"}}]},
}


@pytest.mark.parametrize("members", ODD.values(), ids=ODD.keys())
async def test_nothing_is_dropped_for_being_odd(gateway: httpx.AsyncClient, members: Json) -> None:
    response = await post(gateway, message(**members))

    assert response.status_code == 200
    assert len(await kept(gateway)) == 1
    assert len(await reports(gateway)) == 1


async def test_several_devices_in_one_message_are_several_reports(gateway: httpx.AsyncClient) -> None:
    position = message()["deviceList"][0]["positionData"]
    devices = [{"id": str(int(IMEI) + n), "kind": "IMEI", "positionData": position} for n in range(3)]

    await post(gateway, message(deviceList=devices))

    assert len({report["device"]["imei"] for report in await reports(gateway)}) == 3


async def test_another_account_than_the_tokens_is_stored_and_marked(gateway: httpx.AsyncClient) -> None:
    await post(gateway, message(accountName="0000000000-00009"))

    [report], [callback] = await reports(gateway), await kept(gateway)

    assert report["account"] == ACCOUNT
    assert "account_mismatch" in report["flags"]
    assert "account_mismatch" in callback["flags"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe\x00", b"1"])
async def test_what_is_no_json_object_is_refused_and_kept_in_quarantine(
    gateway: httpx.AsyncClient, body: bytes
) -> None:
    response = await post(gateway, body)

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_JSON")
    [callback] = await kept(gateway, state="quarantined")
    assert callback.get("body", "").encode() == body or "bodyBase64" in callback
    assert callback["reason"]
    assert not await reports(gateway)


async def test_bytes_that_are_no_text_are_shown_in_base64(gateway: httpx.AsyncClient) -> None:
    await post(gateway, b"\xff\xfe")

    [callback] = await kept(gateway)
    assert callback["bodyBase64"] == "//4="


@pytest.mark.parametrize("token", ["nobody-knows-it", "token-that-nobody-guesse", "%00", "ä"])
async def test_an_unknown_token_leads_nowhere(gateway: httpx.AsyncClient, token: str) -> None:
    response = await gateway.post(f"/callbacks/thingspace/{token}", json=message(), headers={"Authorization": ""})

    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")
    assert response.headers["x-request-id"] == response.json()["instance"]
    assert not await kept(gateway)


async def test_a_known_token_of_another_provider_leads_nowhere(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post(CALLBACK_PATH.replace("thingspace", "cloudlocate"), json=message())

    assert response.status_code == 404


async def test_reading_a_callback_address_shows_nothing(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get(CALLBACK_PATH, headers={"Authorization": ""})

    assert response.status_code in (404, 405)


@pytest.mark.parametrize("size", [1024 * 1024, 1024 * 1024 + 1])
async def test_a_callback_over_a_mebibyte_is_refused(gateway: httpx.AsyncClient, size: int) -> None:
    body = json.dumps(message()).encode()

    response = await post(gateway, body + b" " * (size - len(body)))

    expected = 200 if size == 1024 * 1024 else 413
    assert response.status_code == expected
    assert len(await kept(gateway)) == (expected == 200)


async def test_a_callback_in_pieces_is_put_together(gateway: httpx.AsyncClient) -> None:
    async def pieces() -> Any:
        for byte in json.dumps(message()).encode():
            yield bytes([byte])

    response = await gateway.post(CALLBACK_PATH, content=pieces())

    assert response.status_code == 200
    assert len(await reports(gateway)) == 1


async def test_when_too_much_waits_callbacks_are_to_come_back(database_url: str, vendors: Vendors) -> None:
    app = create_app(settings(database_url, callback_queue=5), vendors.transport())
    async with asking(app) as gateway:
        responses = await asyncio.gather(*(post(gateway, message(number)) for number in range(40)))
        stored = await reports(gateway, limit="1000")

    statuses = [response.status_code for response in responses]
    refused = [response for response in responses if response.status_code == 503]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == len(stored)
    assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
    assert {response.json()["code"] for response in refused} == {"UNAVAILABLE"}


async def test_without_a_database_callbacks_are_to_come_back(free_port: int, vendors: Vendors) -> None:
    nowhere = f"postgresql://nobody:nothing@127.0.0.1:{free_port}/nowhere"
    async with asking(create_app(settings(nowhere), vendors.transport())) as gateway:
        known = await post(gateway, message())
        unknown = await gateway.post("/callbacks/thingspace/unknown", json=message())

    assert (known.status_code, unknown.status_code) == (503, 503)
    assert known.headers["retry-after"]


async def test_an_unmigrated_database_is_no_reason_to_acknowledge(empty_database_url: str, vendors: Vendors) -> None:
    async with asking(create_app(settings(empty_database_url), vendors.transport())) as gateway:
        unknown = await gateway.post("/callbacks/thingspace/unknown", json=message())

    assert (unknown.status_code, unknown.json()["code"]) == (503, "UNAVAILABLE")


def signed(body: bytes, secret: str = "shared") -> str:
    return hmac.digest(secret.encode(), body, sha256).hex()


@pytest.mark.parametrize(
    ("mode", "signature", "status", "verdict"),
    [
        ("enforce", "right", 200, "valid"),
        ("enforce", "wrong", 401, None),
        ("enforce", "", 401, None),
        ("log", "right", 200, "valid"),
        ("log", "wrong", 200, "invalid"),
        ("log", "", 200, "missing"),
        ("off", "wrong", 200, "unchecked"),
    ],
)
async def test_signatures(
    database_url: str,
    vendors: Vendors,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    signature: str,
    status: int,
    verdict: str | None,
) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE", mode)
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_HEADER", "X-Signature")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET", "shared")
    body = json.dumps(message()).encode()
    headers = {"X-Signature": signed(body) if signature == "right" else signature} if signature else {}

    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        response = await post(gateway, body, **headers)
        callbacks = await kept(gateway)

    assert response.status_code == status
    assert [callback["signature"] for callback in callbacks] == ([verdict] if verdict else [])


@pytest_asyncio.fixture(loop_scope="module")
async def watching(
    database_url: str, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that logs what is wrong with signatures, and refuses nothing for it."""
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE", "log")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_HEADER", "X-Signature")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET", "shared")
    async with asking(create_app(settings(database_url, log_level="info"), vendors.transport())) as gateway:
        yield gateway


async def post_with_each_verdict(gateway: httpx.AsyncClient) -> None:
    """Send one callback that is signed rightly, two that are signed wrongly, and three that are not signed."""
    body = json.dumps(message()).encode()
    for headers in ({"X-Signature": signed(body)}, *[{"X-Signature": "wrong"}] * 2, *[{}] * 3):
        assert (await post(gateway, body, **headers)).status_code == 200


async def test_verdicts_on_signatures_are_logged_once_a_minute(watching: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await post_with_each_verdict(watching)

    logged = [(line["signature"], line["log_level"]) for line in lines if "signature" in line]
    assert logged == [("valid", "info"), ("invalid", "warning"), ("missing", "warning")]
    assert "shared" not in str(lines)


async def test_verdicts_on_signatures_are_counted(watching: httpx.AsyncClient) -> None:
    def counts(text: str) -> Counter[str]:
        found = re.findall(r'^gateway_callback_signatures_total{.*signature="(\w+)"} ([0-9.]+)$', text, re.MULTILINE)
        return Counter({verdict: int(float(count)) for verdict, count in found})

    before = counts((await watching.get("/metrics")).text)
    await post_with_each_verdict(watching)
    after = counts((await watching.get("/metrics")).text)

    assert after - before == {"valid": 1, "invalid": 2, "missing": 3}


async def test_callbacks_are_found_by_the_verdict_on_their_signature(watching: httpx.AsyncClient) -> None:
    await post_with_each_verdict(watching)

    found = {verdict: len(await kept(watching, signature=verdict)) for verdict in ("valid", "invalid", "missing")}
    unknown = await watching.get("/callbacks", params={"signature": "good"})

    assert found == {"valid": 1, "invalid": 2, "missing": 3}
    assert await kept(watching, signature="unchecked") == []
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/query/signature")


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"reportType":"CONSENT_RESPONSE","pass\\u0077ord":"hush","USERNAME":"hu\\u0073h"}', "stored"),
        (b'{"pass\\u0077ord":"hush","USERNAME":"hush', "quarantined"),
    ],
)
async def test_credentials_are_not_kept_and_replays_change_nothing(
    gateway: httpx.AsyncClient, body: bytes, state: str
) -> None:
    await post(gateway, body)
    before = await reports(gateway)

    [callback] = await kept(gateway)
    await gateway.post(f"/callbacks/{callback['id']}/replay")

    assert callback["state"] == state
    assert "hush" not in callback["body"]
    assert await reports(gateway) == before


async def test_replay_makes_reports_of_what_can_be_read_now(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await post(gateway, b"{")
    database = gateway_app.state.storage.database
    async with database.transaction() as session:
        connection = await session.connection()
        body = json.dumps(message())
        await connection.exec_driver_sql("UPDATE callbacks SET body = convert_to($1, 'UTF8')", (body,))
    [callback] = await kept(gateway, state="quarantined")

    replayed = (await gateway.post(f"/callbacks/{callback['id']}/replay")).json()

    assert (replayed["state"], replayed["reports"], replayed["reason"]) == ("stored", 1, None)
    assert [report["transactionId"] for report in await reports(gateway)] == ["t-1"]
    assert not await kept(gateway, state="quarantined")


async def test_replay_of_everything_tells_what_is_left(gateway: httpx.AsyncClient) -> None:
    for body in (b"{", b"["):
        await post(gateway, body)
    await post(gateway, message())

    quarantined = (await gateway.post("/callbacks/replay")).json()
    stored = (await gateway.post("/callbacks/replay", params={"state": "stored"})).json()

    assert quarantined == {"stored": 0, "quarantined": 2}
    assert stored == {"stored": 1, "quarantined": 0}
    assert len(await reports(gateway)) == 1


async def test_replay_in_pages_goes_on_behind_a_cursor_and_tells_how_many_there_are(gateway: httpx.AsyncClient) -> None:
    for _ in range(5):
        await post(gateway, b"{")

    first = (await gateway.post("/callbacks/replay", params={"limit": 3})).json()
    rest = (await gateway.post("/callbacks/replay", params={"limit": 3, "cursor": first["next"]})).json()

    assert (first["stored"], first["quarantined"], first["total"]) == (0, 3, 5)
    assert rest == {"stored": 0, "quarantined": 2, "next": None}


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
async def test_a_page_of_a_replay_is_bounded(gateway: httpx.AsyncClient, limit: str) -> None:
    response = await gateway.post("/callbacks/replay", params={"limit": limit})

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/query/limit")


@pytest.mark.parametrize("key", ["nothing", "0" * 26, "01JNB3X7Q2V4C0M8T5Y6Z7A8B9"])
async def test_a_callback_that_does_not_exist(gateway: httpx.AsyncClient, key: str) -> None:
    shown = await gateway.get(f"/callbacks/{key}")
    replayed = await gateway.post(f"/callbacks/{key}/replay")

    assert shown.status_code == replayed.status_code == 404


async def test_callbacks_are_listed_newest_first_in_pages(gateway: httpx.AsyncClient) -> None:
    for number in range(5):
        await post(gateway, message(number))

    first = (await gateway.get("/callbacks", params={"limit": 2})).json()
    await post(gateway, message(9))
    second = (await gateway.get("/callbacks", params={"limit": 2, "cursor": first["next"]})).json()
    third = (await gateway.get("/callbacks", params={"limit": 2, "cursor": second["next"]})).json()

    keys = [callback["id"] for page in (first, second, third) for callback in page["callbacks"]]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == 5
    assert third["next"] is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
near_valid = st.fixed_dictionaries(
    {},
    optional={
        "accountName": values,
        "deviceList": st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "kind", "mdn", "positionData", "error"), values)),
            max_size=3,
        )
        | values,
        "reportType": st.sampled_from(["LOCATION_REPORT", "STOP_PERIODIC_LOCATION_RESPONSE", "X"]) | values,
        "status": values,
        "transactionID": values,
    },
)
bodies = (
    st.binary(max_size=200)
    | values.map(lambda value: json.dumps(value).encode())
    | near_valid.map(lambda value: json.dumps(value).encode())
)


@limits(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(bodies, min_size=1, max_size=4))
async def test_whatever_comes_in_is_kept(gateway: httpx.AsyncClient, gateway_app: FastAPI, batch: list[bytes]) -> None:
    before = await count(gateway_app)

    responses = await asyncio.gather(*(post(gateway, body) for body in batch))

    assert {response.status_code for response in responses} <= {200, 400}
    assert await count(gateway_app) - before == len(batch)


async def count(app: FastAPI) -> int:
    async with app.state.storage.database.transaction() as session:
        connection = await session.connection()
        found: int = (await connection.exec_driver_sql("SELECT count(*) FROM callbacks")).scalar_one()
    return found
