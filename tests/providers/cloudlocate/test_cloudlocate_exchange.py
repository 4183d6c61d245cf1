import asyncio
import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from cloudlocate_stage import (
    NOW,
    OFFICIAL,
    REPLY,
    SERVING,
    TWO_POINTS,
    VECTORS,
    Assess,
    MakeLocator,
    Vendor,
    by_gnss,
    by_wifi,
    make_settings,
    measured,
    soon,
)
from cloudlocate_stage import ubx as vector
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.errors import UnableToLocate
from app.model import Device, Evidence, GnssEvidence, Located, LocationQuery
from app.providers.cloudlocate.mapping import to_device_id, to_instant, to_located, to_number
from app.providers.cloudlocate.wire import PositionReply


def named(name: str | None) -> LocationQuery:
    return LocationQuery(device=Device(name=name), evidence=Evidence(access_points=TWO_POINTS))


async def test_all_groups_go_out_in_one_call_in_the_documented_order(locator: MakeLocator, vendor: Vendor) -> None:
    query = measured(
        gnss=GnssEvidence(payload=base64.b64decode(OFFICIAL)), access_points=TWO_POINTS, cell_towers=(SERVING,)
    )

    await locator().locate(query, request_id="request", deadline=soon())

    assert len(vendor.requests) == 1
    assert list(vendor.asked) == ["RequestId", "GNSSMeasurements", "WiFiMeasurements", "CellMeasurements"]


async def test_the_call_is_an_authorized_json_post(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_wifi(), request_id="r", deadline=soon())

    (request,) = vendor.requests
    assert (request.method, str(request.url)) == ("POST", "https://cloudlocate.example/position")
    assert request.headers["authorization"] == "Basic " + base64.b64encode(b"thing:secret").decode()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["host"] == "cloudlocate.example"
    assert request.headers["content-length"] == str(len(request.content))


async def test_a_long_request_id_is_cut_to_what_the_vendor_takes(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_wifi(), request_id="x" * 61, deadline=soon())

    assert vendor.asked["RequestId"] == "x" * 60


@pytest.mark.parametrize(("name", "sent"), [("pump-0417", "pump-0417"), (None, None), ("", None)])
async def test_the_device_is_named_as_the_caller_names_it(
    name: str | None, sent: str | None, locator: MakeLocator, vendor: Vendor
) -> None:
    await locator().locate(named(name), request_id="r", deadline=soon())

    assert vendor.asked.get("DeviceId") == sent


@pytest.mark.parametrize("name", ["x" * 33, "pump 0417", "Pumpe Süd", "device:0a1b\n"])
async def test_a_name_beyond_the_vendors_limits_is_mapped(name: str, locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(named(name), request_id="r", deadline=soon())

    assert re.fullmatch(r"[0-9a-f]{32}", vendor.asked["DeviceId"])


@given(st.text(min_size=1, max_size=128))
def test_any_name_becomes_a_stable_id_within_the_vendors_limits(name: str) -> None:
    device_id = to_device_id(name)

    assert re.fullmatch(r"[a-zA-Z0-9:_-]{1,32}", device_id)
    assert device_id == to_device_id(name)


async def test_the_position_comes_back_with_latitude_and_longitude_in_their_places(locator: MakeLocator) -> None:
    located = await locator().locate(by_gnss(vector("MEAS50")), request_id="r", deadline=soon())

    fix = located.fix
    assert (fix.latitude_deg, fix.longitude_deg) == (48.137154, 11.576124)
    assert (fix.accuracy_m, fix.confidence_pct) == (12.4, 68)
    assert (fix.source, fix.provider, fix.cached) == ("gnss", "cloudlocate", False)


async def test_the_raw_answer_is_kept(locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(httpx.Response(200, content=b'{"Location": {"Lat": 1, "Lon": 2}, "New": true}'))

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert located.raw == '{"Location": {"Lat": 1, "Lon": 2}, "New": true}'


@given(
    st.floats(-90, 90).filter(bool),
    st.floats(-180, 180).filter(bool),
    st.sampled_from([lambda number: number, str]),
)
def test_axes_are_never_swapped_and_numbers_may_be_strings(
    latitude: float, longitude: float, form: Callable[[float], float | str]
) -> None:
    reply = PositionReply(location={"Lat": form(latitude), "Lon": form(longitude)})

    fix = to_located(reply, Evidence(), make_settings(), now=NOW, raw="").fix

    assert (fix.latitude_deg, fix.longitude_deg) == (latitude, longitude)


@pytest.mark.parametrize(
    ("reply", "accuracy_m", "confidence_pct"),
    [
        ({"Location": {"Lat": 1, "Lon": 2, "Unc68": "27.0"}}, 27.0, 68),
        ({"Location": {"Lat": 1, "Lon": 2, "Acc": 8}}, 8, 68),
        ({"Lat": 1, "Lon": 2, "Acc": 8}, 8, 68),
        ({"Location": {}, "Lat": "1", "Lon": "2"}, None, None),
        ({"Location": {"Lat": 1, "Lon": 2}}, None, None),
        ({"Location": {"Lat": 1, "Lon": 2, "Unc68": None}}, None, None),
        ({"Location": {"Lat": 1, "Lon": 2, "Unc68": -1}}, None, None),
    ],
)
async def test_other_spellings_of_an_answer_are_read(
    reply: dict[str, Any], accuracy_m: float | None, confidence_pct: int | None, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=reply))

    fix = (await locator().locate(by_wifi(), request_id="r", deadline=soon())).fix

    assert (fix.latitude_deg, fix.longitude_deg) == (1, 2)
    assert (fix.accuracy_m, fix.confidence_pct) == (accuracy_m, confidence_pct)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"Location": None},
        {"Location": {}},
        {"Location": []},
        {"Location": "none"},
        {"Location": {"Lat": "north", "Lon": 2}},
        {"Location": {"Lat": True, "Lon": 2}},
        {"Location": {"Lat": 91, "Lon": 2}},
        {"Location": {"Lat": 1, "Lon": -180.1}},
        {"Location": {"Lat": "NaN", "Lon": 2}},
        {"Location": {"Lat": 0, "Lon": 0.0}},
    ],
)
async def test_an_answer_without_a_position_is_no_position(
    reply: dict[str, Any], locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=reply))

    with pytest.raises(UnableToLocate) as caught:
        await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert caught.value.provider == "cloudlocate"


async def test_zeros_are_a_position_when_so_configured(locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(httpx.Response(200, json={"Location": {"Lat": 0, "Lon": 0}}))

    located = await locator(zero_is_no_position=False).locate(by_wifi(), request_id="r", deadline=soon())

    assert located.fix.latitude_deg == 0


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ("GNSS", "gnss"),
        ("gps", "gnss"),
        ("WiFi", "wifi"),
        ("Wi-Fi", "wifi"),
        ("WLAN", "wifi"),
        ("Cellular", "cell"),
        ("cell_id", "cell"),
        ("Cell", "cell"),
        ("Astrolabe", "unknown"),
        (None, "unknown"),
        (7, "unknown"),
    ],
)
async def test_the_source_is_read_in_any_spelling(
    said: object, source: str, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"LocationSource": said}))

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert located.fix.source == source


@pytest.mark.parametrize(
    ("source", "fixed_at"),
    [
        ("GNSS", NOW - timedelta(minutes=2)),
        ("WiFi", NOW - timedelta(minutes=1)),
        ("Cellular", NOW - timedelta(minutes=1)),
        ("other", NOW - timedelta(minutes=1)),
    ],
)
async def test_a_fix_is_of_the_time_of_the_group_that_led_to_it(
    source: str, fixed_at: datetime, locator: MakeLocator, vendor: Vendor
) -> None:
    gnss = GnssEvidence(payload=vector("MEAS50"), observed_at=NOW - timedelta(minutes=2))
    query = measured(gnss=gnss, access_points=TWO_POINTS, observed_at=NOW - timedelta(minutes=1))
    vendor.will(httpx.Response(200, json=REPLY | {"LocationSource": source}))

    located = await locator().locate(query, request_id="r", deadline=soon())

    assert located.fix.fixed_at == fixed_at


async def test_a_fix_by_gnss_alone_is_of_its_time_whatever_the_source_is_called(
    locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"LocationSource": "other"}))

    located = await locator().locate(by_gnss(vector("MEAS50"), NOW), request_id="r", deadline=soon())

    assert located.fix.fixed_at == NOW


@pytest.mark.parametrize(
    ("said", "fixed_at"),
    [
        ("2026-03-14T09:26:53", datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        ("2026-03-14T09:26:53Z", datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        ("2026-03-14T10:26:53+01:00", datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        ("2026-03-14T09:26:53.25", datetime(2026, 3, 14, 9, 26, 53, 250_000, tzinfo=UTC)),
        ("2026-03-14 09:26:53.25 +0000 UTC", datetime(2026, 3, 14, 9, 26, 53, 250_000, tzinfo=UTC)),
        ("2026-03-13T24:00:00", datetime(2026, 3, 14, tzinfo=UTC)),
        ("20260314092653", datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        (1773480413, datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)),
        (1773480413250.0, datetime(2026, 3, 14, 9, 26, 53, 250_000, tzinfo=UTC)),
    ],
)
async def test_without_a_time_of_the_callers_the_vendors_holds(
    said: object, fixed_at: datetime, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"DateTime": said}))

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert located.fix.fixed_at == fixed_at
    assert (located.flags, located.hints) == ((), ())


@pytest.mark.parametrize("said", ["yesterday", "", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00", 0, True, [], None])
async def test_a_fix_without_a_time_that_can_be_read_says_so(
    said: object, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"DateTime": said}))

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert (located.fix.fixed_at, located.flags) == (NOW, ("time_unreadable",))
    assert "time of the fix" in located.hints[0]


async def test_a_fix_of_the_future_says_so(locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"DateTime": (NOW + timedelta(hours=20)).isoformat()}))

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert located.flags == ("future_time",)
    assert "future" in located.hints[0]


@given(st.text() | st.datetimes().map(str) | st.integers() | st.none())
def test_no_time_is_too_odd_to_be_read_or_set_aside(value: object) -> None:
    at = to_instant(value)

    assert at is None or at.utcoffset() == timedelta(0)


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_no_number_is_too_odd_to_be_read_or_set_aside(value: object) -> None:
    number = to_number(value)

    assert number is None or abs(number) < float("inf")


async def test_an_echo_that_differs_is_logged_without_its_value(locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(httpx.Response(200, json=REPLY | {"RequestId": "other", "DeviceId": "pump-0417"}))

    with capture_logs() as logs:
        await locator().locate(named("pump-0417"), request_id="mine", deadline=soon())

    assert [(entry["event"], entry["field"]) for entry in logs] == [("echo differs", "RequestId")]
    assert "other" not in str(logs)


async def test_asking_about_many_answers_in_the_order_asked_and_keeps_failures_apart(locator: MakeLocator) -> None:
    latitudes = {"a": 10, "b": None, "c": 30}

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"Location": {"Lat": latitudes[_asked(request)["DeviceId"]], "Lon": 1}})

    answers = await locator(answer).locate_many(list(map(named, latitudes)), request_id="r", deadline=soon())

    assert isinstance(answers[1], UnableToLocate)
    assert [one.fix.latitude_deg for one in answers if isinstance(one, Located)] == [10, 30]


async def test_many_are_asked_side_by_side_and_not_all_at_once(locator: MakeLocator) -> None:
    running = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return httpx.Response(200, json=REPLY)

    await locator(answer).locate_many([by_wifi() for _ in range(200)], request_id="r", deadline=soon())

    assert 1 < most <= 64


async def test_no_measurements_are_unusable(assess: Assess) -> None:
    assert not assess(LocationQuery(device=Device(name="pump-0417"))).usable


async def test_no_call_is_spent_on_what_cannot_be_solved(locator: MakeLocator, vendor: Vendor) -> None:
    with pytest.raises(UnableToLocate):
        await locator().locate(by_wifi(TWO_POINTS[0]), request_id="r", deadline=soon())

    assert not vendor.requests


async def test_what_was_assessed_is_asked_about_as_it_was_assessed(locator: MakeLocator, vendor: Vendor) -> None:
    cloudlocate = locator()
    queries = [by_wifi(), by_gnss(vector("MEAS20")), by_gnss(vector("MEAS50"))]
    for query in queries:
        cloudlocate.assess(query)

    for query in reversed(queries):
        await cloudlocate.locate(query, request_id="r", deadline=soon())

    assert [set(_asked(request)) - {"RequestId"} for request in vendor.requests] == [
        {"GNSSMeasurements"},
        {"GNSSMeasurements"},
        {"WiFiMeasurements"},
    ]
    assert len(_asked(vendor.requests[0])["GNSSMeasurements"]["Payload"]) == len(VECTORS["MEAS50"])


async def test_assessed_queries_that_are_never_asked_about_are_forgotten(locator: MakeLocator) -> None:
    cloudlocate = locator()

    for _ in range(3000):
        cloudlocate.assess(by_wifi())

    assert len(cloudlocate._prepared) <= 1024


def _asked(request: httpx.Request) -> dict[str, Any]:
    return msgspec.json.decode(request.content)
