"""Fixes that may not be believed are stored and flagged, and answer nothing: C04 and C05 of the field."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.vendors import ACCOUNT, CALLBACK_PATH, IMEI, MDN, Vendors, asked, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
ERROR = {"time": "20260301120000", "type": "POSITION METHOD FAILURE", "info": "Exception code=ABSENT SUBSCRIBER"}
ZEROS = {"x": "0.0", "y": "0.0", "radius": "0"}
_numbers = itertools.count(500)


@pytest.fixture
def device() -> Json:
    """A device that no other test has asked about."""
    number = next(_numbers)
    return {"imei": str(int(IMEI) + number), "mdn": str(int(MDN) + number)}


def answering(pd: Json, **members: Any) -> Callable[[httpx.Request], httpx.Response]:
    """Give the same position for every device asked about."""

    def answer(request: httpx.Request) -> httpx.Response:
        elements = [{"msid": one["mdn"], "pd": pd, **members} for one in asked(request)["deviceList"]]
        return httpx.Response(200, json=elements)

    return answer


def now() -> str:
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}"


async def report(gateway: httpx.AsyncClient, device: Json, position: Json, **members: Any) -> Json:
    """Post a callback about a device as ThingSpace would, and read its report."""
    stated = {"time": now(), "x": "33.0", "y": "-112.0", "radius": "35", "locationType": "1"} | position
    envelope = {name: members.pop(name) for name in ("status", "accountName") if name in members}
    entry = {"id": device["imei"], "kind": "IMEI", "mdn": device["mdn"], "positionData": stated} | members
    body = message(deviceList=[entry], transactionID=f"t-{device['imei']}", **envelope)
    response = await gateway.post(CALLBACK_PATH, content=json.dumps(body), headers={"Authorization": ""})
    assert response.status_code == 200
    [found] = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    return dict(found)


async def locate(gateway: httpx.AsyncClient, device: Json, **rest: Any) -> Json:
    answer: Json = (await gateway.post("/locate", json={"device": device} | rest)).json()
    return answer


async def assert_answers_nothing(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    """Check that a stored fix is nobody's position, and that ThingSpace is asked instead."""
    for identifier in device.values():
        assert (await gateway.get(f"/devices/{identifier}/location")).status_code == 404
    listed = (await gateway.get("/positions", params={"account": ACCOUNT, "limit": "1000"})).json()["positions"]
    assert device["imei"] not in [one["device"].get("imei") for one in listed]
    answer = await locate(gateway, device, maxAge=3600)
    assert answer["location"]["latitude"] == 42.09551
    assert len(vendors.thingspace_calls) == 1


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        pytest.param({"error": ERROR, "status": "FAILED"}, "FAILED", id="a"),
        pytest.param({}, "FAILED", id="b"),
        pytest.param({}, "SUCCESS", id="c"),
    ],
)
async def test_a_callback_at_zero_has_failed(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, entry: Json, status: str
) -> None:
    found = await report(gateway, device, ZEROS, **({"status": status} | entry))

    assert (found["status"], found["location"]) == ("failed", None)
    assert "zero_island" in found["flags"]
    assert found["error"]["info"] == (ERROR["info"] if "error" in entry else None)
    await assert_answers_nothing(gateway, vendors, device)


async def test_a_synchronous_answer_at_zero_is_what_its_error_says(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = lambda request: httpx.Response(
        200,
        json=[
            {"msid": one["mdn"], "pd": ZEROS | {"time": now()}, "error": ERROR} for one in asked(request)["deviceList"]
        ],
    )

    problem = await locate(gateway, device)

    assert (problem["status"], problem["code"]) == (422, "DEVICE_UNREACHABLE")
    assert problem["provider"]["message"] == ERROR["info"]
    [found] = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    assert (found["status"], found["location"], found["flags"]) == ("failed", None, ["zero_island"])
    assert found["error"]["info"] == ERROR["info"]


async def test_a_synchronous_answer_at_zero_without_an_error_is_no_position(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = answering(ZEROS | {"time": now()})

    problem = await locate(gateway, device)

    assert (problem["status"], problem["code"]) == (422, "UNABLE_TO_LOCATE")
    assert "0/0" in problem["detail"]
    [found] = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    assert (found["status"], found["flags"]) == ("failed", ["zero_island"])
    raw = (await gateway.get(f"/reports/{found['id']}")).json()["raw"]
    assert json.loads(raw)["pd"]["x"] == "0.0"
    vendors.begin_anew()
    await assert_answers_nothing(gateway, vendors, device)


async def test_a_position_beside_an_error_is_listed_and_answers_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    found = await report(gateway, device, {}, error=ERROR)

    assert found["location"]["latitude"] == 33.0
    assert found["error"]["info"] == ERROR["info"]
    assert "error_beside_position" in found["flags"]
    await assert_answers_nothing(gateway, vendors, device)


async def test_a_synchronous_position_beside_an_error_is_listed_and_answers_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = answering({"time": now(), "x": "33.0", "y": "-112.0", "radius": "35"}, error=ERROR)

    problem = await locate(gateway, device)

    assert (problem["status"], problem["code"]) == (422, "DEVICE_UNREACHABLE")
    [found] = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    assert (found["location"]["latitude"], found["error"]["info"]) == (33.0, ERROR["info"])
    assert found["flags"] == ["error_beside_position"]
    vendors.begin_anew()
    await assert_answers_nothing(gateway, vendors, device)


async def test_a_fix_of_the_future_is_listed_and_answers_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    found = await report(gateway, device, {"time": f"{datetime.now(UTC) + timedelta(hours=20):%Y%m%d%H%M%S}"})

    assert (found["status"], found["flags"]) == ("located", ["future_time"])
    await assert_answers_nothing(gateway, vendors, device)


async def test_a_fix_that_names_another_account_than_its_address_answers_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    found = await report(gateway, device, {}, accountName="0844559123-00002")

    assert found["flags"] == ["account_mismatch"]
    await assert_answers_nothing(gateway, vendors, device)


@pytest.mark.parametrize("time", ["00000000000000", "", None, "noon"])
async def test_a_fix_of_unknown_time_is_listed_and_answers_nothing(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, time: str | None
) -> None:
    found = await report(gateway, device, {"time": time})

    assert (found["status"], found["flags"]) == ("located", ["time_unreadable"])
    await assert_answers_nothing(gateway, vendors, device)


async def test_every_synchronous_answer_of_unknown_time_says_so(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = answering({"time": "", "x": "33.0", "y": "-112.0", "radius": "35"})

    for asked_for in ({"maxAge": 0}, {}, {}):
        answer = await locate(gateway, device, **asked_for)
        assert any("time of the fix" in hint for hint in answer["hints"])

    assert vendors.cache_modes == ["2", "1", "1"]
    problem = await locate(gateway, device, maxAge=3600)
    assert problem["code"] == "UNABLE_TO_FULFILL_MAX_AGE"
