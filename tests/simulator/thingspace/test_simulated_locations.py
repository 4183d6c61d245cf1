from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from thingspace_caller import ACCOUNT, OTHER_ACCOUNT, Caller

from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.vendors.thingspace.fixes import Fixes, Outcome
from app.simulator.world.clock import ManualClock


def message(answer: httpx.Response) -> str:
    assert answer.status_code == 400
    return answer.json()["errorMessage"]


async def test_a_current_fix_is_where_the_device_is_with_x_for_latitude(caller: Caller) -> None:
    device = caller.device()
    truth = caller.state.world.position_now(device)

    (element,) = (await caller.locate(device, cacheMode="2")).json()

    assert element["msid"] == "5085550101"
    assert element["error"] == {}
    assert element["pd"]["time"] == "20240517143000"
    assert float(element["pd"]["x"]) == pytest.approx(truth.latitude, abs=1e-5)
    assert float(element["pd"]["y"]) == pytest.approx(truth.longitude, abs=1e-5)
    assert 300 <= int(element["pd"]["radius"]) <= 5600
    assert element["pd"]["qos"] == "false"


async def test_cached_only_fails_while_nothing_is_cached(caller: Caller) -> None:
    answer = await caller.locate(caller.device())

    assert message(answer) == "Location cache has no data for this device"
    assert answer.json()["errorCode"] == "CACHE_UNAVAILABLE"


async def test_a_current_fix_fills_the_cache(caller: Caller) -> None:
    current = (await caller.locate(caller.device(), cacheMode="2")).json()
    await caller.clock.advance(600)

    assert (await caller.locate(caller.device(), cacheMode="0")).json() == current
    assert (await caller.locate(caller.device(), cacheMode="1")).json() == current
    assert (await caller.locate(caller.device(), cacheMode="2")).json() != current


async def test_cached_or_current_finds_what_is_not_cached(caller: Caller) -> None:
    first = (await caller.locate(caller.device(), cacheMode=1)).json()
    await caller.clock.advance(60)

    assert (await caller.locate(caller.device(), cacheMode="1")).json() == first


async def test_only_fixes_over_the_network_are_billed(caller: Caller) -> None:
    for mode in "2110":
        await caller.locate(caller.device(), cacheMode=mode)

    assert caller.state.counters.count("thingspace.fixes.billed") == 1


async def test_an_empty_cache_beside_a_full_one_is_an_error_of_the_device(caller: Caller) -> None:
    await caller.locate(caller.device(1), cacheMode="2")

    empty, full = (await caller.locate(caller.device(0), caller.device(1))).json()

    assert (empty["pd"], empty["error"]["type"]) == ({}, "CACHE_UNAVAILABLE")
    assert (full["error"], full["msid"]) == ({}, "5085550102")


async def test_devices_without_consent_are_refused(caller: Caller) -> None:
    caller.fault("no_consent", times=2)

    alone = await caller.locate(caller.device(), cacheMode="2")
    beside = await caller.locate(caller.device(0), caller.device(1), cacheMode="2")

    assert message(alone) == "Consent check failed"
    assert [element["error"].get("info") for element in beside.json()] == ["Consent check failed", None]


async def test_refusals_can_stay_inside_the_answer(caller: Caller) -> None:
    caller.fault("refusals_inside")

    (element,) = (await caller.locate(caller.device())).json()

    assert element["error"]["type"] == "CACHE_UNAVAILABLE"


async def test_a_device_that_is_offline_fails_alone(caller: Caller) -> None:
    caller.fault("device_offline", device=caller.device(1).imei)

    found, offline = (await caller.locate(caller.device(0), caller.device(1), cacheMode="2")).json()

    assert found["pd"]["x"]
    assert offline == {
        "msid": "5085550102",
        "pd": {},
        "error": {
            "time": "20240517143000",
            "type": "POSITION METHOD FAILURE",
            "info": "Exception code=ABSENT SUBSCRIBER",
        },
    }


async def test_an_error_can_have_any_words(caller: Caller) -> None:
    caller.fault("device_offline", value={"type": "TIMEOUT", "info": ""})
    caller.fault("not_iot")

    timeout, consumer = (await caller.locate(caller.device(0), caller.device(1), cacheMode="2")).json()

    assert (timeout["error"]["type"], timeout["error"]["info"]) == ("TIMEOUT", "")
    assert consumer["error"]["type"] == "TS DEVICE TYPE CHECK FAILED"


async def test_devices_are_found_by_meid_and_esn_and_by_any_case_of_the_kind(caller: Caller) -> None:
    with_meid, with_esn = caller.device(7), caller.device(8)
    wanted = [
        {"id": with_meid.meid, "kind": "MEID", "mdn": with_meid.mdn},
        {"id": with_esn.esn, "kind": "Esn", "mdn": with_esn.mdn},
    ]

    answer = await caller.locate(cacheMode="2", deviceList=wanted)

    assert [element["msid"] for element in answer.json()] == [with_meid.mdn, with_esn.mdn]


async def test_the_nested_device_list_of_the_tables_is_read_as_well(caller: Caller) -> None:
    nested = [{"deviceIds": [{"id": caller.device().imei, "kind": "imei"}], "mdn": caller.device().mdn}]

    assert (await caller.locate(cacheMode="2", deviceList=nested)).status_code == 200


async def test_the_body_is_read_as_json_whatever_its_type_is_said_to_be(caller: Caller) -> None:
    caller.headers["Content-Type"] = "*/*"

    assert (await caller.locate(caller.device(), cacheMode="2")).status_code == 200


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"accountName": " "}, "Invalid account name", id="blank account"),
        pytest.param({"accountName": 5}, "Invalid account name", id="account is a number"),
        pytest.param(
            {"accountName": "1-1"}, "UWS verification failure (Could not find account 1-1)", id="unknown account"
        ),
        pytest.param({"accuracyMode": "1"}, "Invalid accuracy mode", id="accuracy"),
        pytest.param({"cacheMode": "3"}, "Invalid cache mode", id="cache"),
        pytest.param({"cacheMode": "01"}, "Invalid cache mode", id="cache of two digits"),
        pytest.param({"deviceList": []}, "The deviceList is missing or empty", id="no devices"),
        pytest.param({"deviceList": ["x"]}, "The deviceList must hold objects", id="no objects"),
        pytest.param(
            {"deviceList": [{"id": "1", "kind": "iccid"}]},
            "The kind of a device must be one of imei, meid, esn",
            id="kind",
        ),
        pytest.param({"deviceList": [{"id": "1", "kind": "imei"}]}, "Device not found", id="unknown device"),
        pytest.param({"accountName": OTHER_ACCOUNT}, "Ownership or MDN validation failed", id="not owned"),
        pytest.param(
            {"deviceList": [{"id": "990001123456782", "kind": "imei", "mdn": "5085550102"}]},
            "Ownership or MDN validation failed",
            id="MDN of another device",
        ),
    ],
)
async def test_wrong_requests_are_refused_with_the_vendors_words(
    caller: Caller, change: dict[str, Any], complaint: str
) -> None:
    assert message(await caller.locate(caller.device(), **change)) == complaint


async def test_more_than_twenty_devices_are_too_many(caller: Caller) -> None:
    devices = [caller.device(index) for index in range(30) if caller.device(index).account == ACCOUNT]

    assert (await caller.locate(*devices[:20], cacheMode="2")).status_code == 200
    assert "more than 20" in message(await caller.locate(*devices[:21], cacheMode="2"))


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{"])
async def test_a_body_that_is_no_json_object_is_invalid(caller: Caller, body: bytes) -> None:
    assert message(await caller.call("POST", "locations", content=body)) == "Invalid JSON"


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("account_unknown", f"UWS verification failure (Could not find account {ACCOUNT})"),
        ("account_unregistered", "Unregistered account"),
        ("device_not_found", "Device not found"),
        ("not_owned", "Ownership or MDN validation failed"),
        ("device_type_refused", "Device type check failed"),
    ],
)
async def test_every_refusal_can_be_had_on_request_and_once(caller: Caller, fault: str, complaint: str) -> None:
    caller.fault(fault)

    assert message(await caller.locate(caller.device(), cacheMode="2")) == complaint
    assert (await caller.locate(caller.device(), cacheMode="2")).status_code == 200


async def test_tokens_are_checked_before_the_body_and_the_bearer_first(caller: Caller) -> None:
    caller.headers["VZ-M2M-Token"] = "none"
    assert "expired" in (await caller.call("POST", "locations", content=b"{")).text

    caller.headers["Authorization"] = "Bearer none"
    assert (await caller.call("POST", "locations", content=b"{")).status_code == 401


@pytest.mark.parametrize(
    ("fault", "answered"),
    [
        ("stranger_added", ["5085550300", "5085550101", "5085550102"]),
        ("stranger_instead", ["5085550101", "5085550300"]),
        ("answer_missing", ["5085550101"]),
        ("answers_reversed", ["5085550102", "5085550101"]),
    ],
)
async def test_the_answer_can_hold_other_devices_than_were_asked_for(
    caller: Caller, fault: str, answered: list[str]
) -> None:
    caller.fault(fault)

    answer = await caller.locate(caller.device(0), caller.device(1), cacheMode="2")

    assert [element["msid"] for element in answer.json()] == answered


async def test_the_cache_can_be_given_a_fix_of_any_age_and_emptied(caller: Caller) -> None:
    caller.fault("cached_fix", value=90)
    cached = await caller.locate(caller.device())
    caller.fault("cache_empty")
    emptied = await caller.locate(caller.device())

    assert cached.json()[0]["pd"]["time"] == "20240517142830"
    assert message(emptied) == "Location cache has no data for this device"


async def test_a_current_fix_can_state_an_old_time(caller: Caller) -> None:
    caller.fault("fix_aged", value=3600)

    (element,) = (await caller.locate(caller.device(), cacheMode="2")).json()

    assert element["pd"]["time"] == "20240517133000"


@pytest.mark.parametrize(
    ("fault", "value", "expected"),
    [
        ("out_of_range", None, {"x": "95.5", "y": "-190.25"}),
        ("coordinates_missing", None, {"x": None, "y": None}),
        ("radius_zero", None, {"radius": "0"}),
        ("radius_absent", None, {"radius": None}),
        ("utcoffset", None, {"time": "20240517093000", "utcoffset": "-0500"}),
        ("utcoffset", "+05:30", {"time": "20240517200000", "utcoffset": "+05:30"}),
        ("utcoffset", "+02", {"time": "20240517163000", "utcoffset": "+02"}),
        ("utcoffset", "-300", {"time": "20240517093000", "utcoffset": "-300"}),
        ("utcoffset", "EST", {"time": "20240517143000", "utcoffset": "EST"}),
        ("time_broken", None, {"time": "2024-05-17 noon"}),
        ("time_broken", "99999999999999", {"time": "99999999999999"}),
        ("time_absent", None, {"time": None}),
    ],
)
async def test_positions_can_be_wrong_in_every_way(
    caller: Caller, fault: str, value: Any, expected: dict[str, Any]
) -> None:
    caller.fault(fault, value=value)

    (element,) = (await caller.locate(caller.device(), cacheMode="2")).json()

    assert {name: element["pd"].get(name) for name in expected} == expected


async def test_axes_can_be_swapped(caller: Caller) -> None:
    straight = (await caller.locate(caller.device(), cacheMode="2")).json()[0]["pd"]
    caller.fault("axes_swapped")

    swapped = (await caller.locate(caller.device(), cacheMode="2")).json()[0]["pd"]

    assert (swapped["x"], swapped["y"]) == (straight["y"], straight["x"])


async def test_a_fault_for_three_positions_spoils_three(caller: Caller) -> None:
    caller.fault("radius_zero", times=3)

    answers = [(await caller.locate(caller.device(), cacheMode="2")).json() for _ in range(4)]

    assert [answer[0]["pd"]["radius"] == "0" for answer in answers] == [True, True, True, False]


@pytest.mark.parametrize(
    ("spelling", "pd", "error"),
    [("empty_as_null", dict, type(None)), ("empty_omitted", dict, str), ("qos_flipped", dict, dict)],
)
async def test_nothing_can_be_spelt_in_three_ways(caller: Caller, spelling: str, pd: type, error: type) -> None:
    caller.fault(spelling)

    (element,) = (await caller.locate(caller.device(), cacheMode="2")).json()

    assert isinstance(element["pd"], pd)
    assert isinstance(element.get("error", "left out"), error)


async def test_numbers_can_be_numbers_and_qos_a_boolean(caller: Caller) -> None:
    caller.fault("numbers_as_numbers")
    caller.fault("qos_flipped")

    pd = (await caller.locate(caller.device(), cacheMode="2")).json()[0]["pd"]

    assert [type(pd[name]) for name in ("x", "y", "radius", "qos")] == [float, float, int, bool]


async def test_the_same_seed_gives_the_same_answers(caller: Caller, options: Options) -> None:

    def locate() -> Outcome:
        at = datetime(2024, 5, 17, tzinfo=UTC)
        state = State.begin(options, ManualClock(at))
        return Fixes(state).locate(state.world.device(5), at, is_precise=True)

    assert locate() == locate()
