import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from thingspace_stand_in import (
    ACCOUNT,
    IMEI,
    MDN,
    AbsentVault,
    StandIn,
    failure,
    in_turn,
    json_of,
    position,
    query,
    refusal,
    sample,
    session_expired,
    soon,
)

from app.errors import (
    ConsentRequired,
    DeviceNotOwned,
    DeviceUnreachable,
    GatewayError,
    MaxAgeNotMet,
    ProviderMisconfigured,
    ProviderUnavailable,
    UnableToLocate,
    Unavailable,
    UnexpectedReply,
)
from app.model import Device, Located, LocationQuery, Mdn
from app.provider import Provider


async def locate(provider: Provider, asked: LocationQuery | None = None) -> Located:
    assert provider.locator
    return await provider.locator.locate(asked or query(), request_id="r", deadline=soon())


async def locate_many(provider: Provider, asked: Sequence[LocationQuery]) -> list[Located | GatewayError]:
    assert provider.locator
    return await provider.locator.locate_many(asked, request_id="r", deadline=soon())


def replying(*elements: Any) -> Any:
    return in_turn(httpx.Response(200, json=list(elements)))


def ago(**time: float) -> str:
    return (datetime.now(UTC) - timedelta(**time)).strftime("%Y%m%d%H%M%S")


def numbered(number: int, max_age_s: int | None = None, **device: Any) -> LocationQuery:
    return query(max_age_s, id_=f"9900011234{number:05d}", mdn=f"50855{number:05d}", **device)


def answering_all(stand_in: StandIn, **members: Any) -> None:
    stand_in.answer = lambda request: httpx.Response(
        200, json=[position(device["mdn"], **members) for device in reversed(json_of(request)["deviceList"])]
    )


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        pytest.param(Device(id=IMEI, kind="imei"), "mdn", id="no MDN"),
        pytest.param(Device(mdn=Mdn(MDN)), "id", id="no id"),
        pytest.param(Device(name="pump"), None, id="neither"),
    ],
)
def test_a_device_needs_both_identifiers(provider: Provider, device: Device, missing: str | None) -> None:
    assert provider.locator

    assessment = provider.locator.assess(LocationQuery(device=device))

    assert not assessment.usable
    assert assessment.reason
    assert assessment.missing_identifier == missing


def test_both_identifiers_suffice(provider: Provider) -> None:
    assert provider.locator
    assert provider.locator.locates_by == "device"
    assert provider.locator.assess(LocationQuery(device=Device(id=IMEI, kind="imei", mdn=Mdn(MDN)))).usable


def test_without_any_account_nothing_can_be_asked(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THINGSPACE_ACCOUNT")

    assessment = build().locator.assess(LocationQuery(device=Device(id=IMEI, kind="imei", mdn=Mdn(MDN))))

    assert not assessment.usable
    assert "THINGSPACE_ACCOUNT" in assessment.reason


async def test_the_request_looks_like_the_vendors_example(provider: Provider, stand_in: StandIn) -> None:
    example = json.loads(sample("find-locations.request"))
    answering_all(stand_in)

    await locate_many(
        provider,
        [
            LocationQuery(device=Device(**{**device, "account": example["accountName"]}))
            for device in example["deviceList"]
        ],
    )

    [request] = stand_in.requests
    assert json_of(request) == example
    assert (request.method, str(request.url)) == ("POST", "https://thingspace.verizon.com/api/loc/v1/locations")


async def test_the_vendors_example_answer_is_read_by_mdn(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=sample("find-locations.response")))
    example = json.loads(sample("find-locations.request"))
    asked = [LocationQuery(device=Device(**device)) for device in example["deviceList"]]

    located, unreachable, absent = await locate_many(provider, asked)

    assert isinstance(located, Located)
    fix = located.fix
    assert (fix.latitude_deg, fix.longitude_deg, fix.accuracy_m) == (33.45324, -84.59621, 5571.0)
    assert fix.fixed_at == datetime(2017, 5, 20, 0, 44, 21, tzinfo=UTC)
    assert (fix.source, fix.provider, fix.confidence_pct, fix.cached) == ("network", "thingspace", None, True)
    assert json.loads(located.raw or "")["msid"] == "7892345678"
    assert isinstance(unreachable, DeviceUnreachable)
    assert unreachable.vendor_code == "POSITION METHOD FAILURE"
    assert unreachable.vendor_message == "Exception code=ABSENT SUBSCRIBER"
    assert isinstance(absent, UnableToLocate)


async def test_the_default_account_is_used_where_none_is_named(provider: Provider, stand_in: StandIn) -> None:
    await locate(provider, query(account=None))

    assert json_of(stand_in.requests[0])["accountName"] == ACCOUNT


@pytest.mark.parametrize(
    "msid", ["5085550101", " 5085550101 ", "15085550101", "+1 508-555-0101", 5085550101, 15085550101]
)
async def test_an_answer_is_recognized_however_its_mdn_is_written(
    provider: Provider, stand_in: StandIn, msid: str | int
) -> None:
    stand_in.answer = replying(position("6175550199"), position() | {"msid": msid})

    assert (await locate(provider)).fix.latitude_deg == 42.09551


async def test_a_lone_stranger_is_never_taken_for_the_device(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position("6175550199"))

    with pytest.raises(UnableToLocate):
        await locate(provider)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([position(x=42.09551, y=-71.26483, radius=1450, qos=False, time=20240517143005)], id="numbers"),
        pytest.param([{"msid": MDN, "pd": position()["pd"]}], id="no error member"),
        pytest.param([{"msid": MDN, "pd": position()["pd"], "error": None}], id="error null"),
        pytest.param([position() | {"error": []}], id="error an array"),
        pytest.param([position() | {"error": {"type": "", "info": None}}], id="error without words"),
        pytest.param([position(alt="12", extra={"a": [1]})], id="unknown members"),
        pytest.param([position() | {"extra": 1}], id="unknown members outside"),
        pytest.param([{"MSID": MDN, "PD": position()["pd"]}], id="other case"),
        pytest.param([{"mdn": MDN, "positionData": position()["pd"]}], id="callback words"),
        pytest.param([{"id": IMEI, "pd": position()["pd"]}], id="by id"),
        pytest.param({"devLocationList": [position()]}, id="in a list member"),
        pytest.param(position(), id="a lone object"),
        pytest.param([None, 7, "x", [], position()], id="rubbish beside it"),
        pytest.param([position() | {"pd": {}}, position()], id="twice, once empty"),
        pytest.param([position() | {"error": {"time": "20240517143006"}}], id="error of a time alone"),
        pytest.param([position(note="a\u0000b\ud800")], id="escapes"),
    ],
)
async def test_every_shape_of_a_position_is_read(provider: Provider, stand_in: StandIn, answer: Any) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=json.dumps(answer).encode()))

    located = await locate(provider)

    fix = located.fix
    assert (fix.latitude_deg, fix.longitude_deg, fix.accuracy_m) == (42.09551, -71.26483, 1450.0)
    assert fix.fixed_at == datetime(2024, 5, 17, 14, 30, 5, tzinfo=UTC)
    assert "\\u0000" not in (located.raw or "")


@pytest.mark.parametrize(
    "element",
    [
        pytest.param({"msid": MDN}, id="nothing"),
        pytest.param({"msid": MDN, "pd": {}, "error": {}}, id="empty"),
        pytest.param({"msid": MDN, "pd": None, "error": None}, id="null"),
        pytest.param({"msid": MDN, "pd": [], "error": []}, id="arrays"),
        pytest.param(position(x=None), id="no latitude"),
        pytest.param(position(y="east"), id="unreadable longitude"),
        pytest.param(position(x="-122.4", y="37.6"), id="swapped axes"),
        pytest.param(position(x="90.1", y="0"), id="beyond the pole"),
        pytest.param(position(x="0", y="180.5"), id="beyond the date line"),
        pytest.param(position(x="nan", y="inf"), id="no numbers"),
        pytest.param(position(x="1" * 400), id="huge"),
        pytest.param(position(x=True, y=False), id="booleans"),
        pytest.param(position(x="0", y="0"), id="zeros"),
        pytest.param(position(x="-0.000000", y=0), id="zeros written otherwise"),
    ],
)
async def test_what_is_no_position_is_none(provider: Provider, stand_in: StandIn, element: Any) -> None:
    stand_in.answer = replying(element)

    with pytest.raises(UnableToLocate):
        await locate(provider)


@pytest.mark.parametrize("radius", ["0", 0, "", None, "far", -1, "nan", 1e300, True])
async def test_a_radius_that_says_nothing_is_none(provider: Provider, stand_in: StandIn, radius: Any) -> None:
    stand_in.answer = replying(position(radius=radius))

    assert (await locate(provider)).fix.accuracy_m is None


@pytest.mark.parametrize(
    ("qos", "met"),
    [
        ("false", False),
        (False, False),
        ("TRUE", True),
        (True, True),
        (0, False),
        ("", None),
        (None, None),
        ("maybe", None),
    ],
)
async def test_the_quality_of_service_is_kept(provider: Provider, stand_in: StandIn, qos: Any, met: Any) -> None:
    stand_in.answer = in_turn(
        httpx.Response(200, json=[position(qos=qos)]), httpx.Response(200, json=[position(qos=qos, alt="12")])
    )

    assert [(await locate(provider)).fix.qos_met for _ in range(2)] == [met, met]


@pytest.mark.parametrize(
    ("offset", "hour"),
    [
        ("+0200", 12),
        ("-0500", 19),
        ("+02:00", 12),
        ("-05:00", 19),
        ("+02", 12),
        ("-5", 19),
        ("-300", 19),
        ("120", 12),
        (120, 12),
        (-300, 19),
        ("0", 14),
        ("", 14),
        (None, 14),
        ("Z", 14),
        ("0200", 12),
    ],
)
async def test_a_time_is_local_at_its_offset(provider: Provider, stand_in: StandIn, offset: Any, hour: int) -> None:
    stand_in.answer = replying(position(utcoffset=offset))

    located = await locate(provider)

    assert located.fix.fixed_at == datetime(2024, 5, 17, hour, 30, 5, tzinfo=UTC)
    assert located.hints == ()


@pytest.mark.parametrize("offset", ["EST", "+2500", "+02h", "9999", "99999"])
async def test_an_unreadable_offset_counts_as_utc_with_a_hint(
    provider: Provider, stand_in: StandIn, offset: str
) -> None:
    stand_in.answer = replying(position(utcoffset=offset))

    located = await locate(provider)

    assert located.fix.fixed_at.hour == 14
    assert "time zone" in located.hints[0]


@pytest.mark.parametrize("time", ["yesterday", "20241332000000", "2024", "00000000000000", 7, "99999999999999"])
async def test_a_position_with_an_unreadable_time_is_kept_with_a_hint(
    provider: Provider, stand_in: StandIn, time: Any
) -> None:
    stand_in.answer = replying(position(time=time))

    located = await locate(provider)

    assert datetime.now(UTC) - located.fix.fixed_at < timedelta(minutes=1)
    assert "time of the fix" in located.hints[0]


@pytest.mark.parametrize("time", ["2024-05-17T14:30:05Z", "2024-05-17 16:30:05+02:00", "2024-05-17T14:30:05"])
async def test_a_time_in_the_common_form_is_understood(provider: Provider, stand_in: StandIn, time: str) -> None:
    stand_in.answer = replying(position(time=time))

    assert (await locate(provider)).fix.fixed_at == datetime(2024, 5, 17, 14, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"7", b"null", b'"x"', b"[{", b"{}", b"[" * 100_000, b"\xff", b'[{"msid":"\xff"}]x']
)
async def test_a_success_that_cannot_be_read_is_said_to_be_so(
    provider: Provider, stand_in: StandIn, body: bytes
) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=body))

    with pytest.raises(UnexpectedReply):
        await locate(provider)

    assert len(stand_in.requests) == 1


async def test_an_error_with_status_200_is_an_error(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(refusal("INVALID_PARAMETER", "Consent check failed", 200))

    with pytest.raises(ConsentRequired):
        await locate(provider)


async def test_without_a_limit_of_age_whatever_there_is_will_do(provider: Provider, stand_in: StandIn) -> None:
    old = position(time=ago(days=3))
    stand_in.answer = in_turn(httpx.Response(200, json=[old]), httpx.Response(200, json=[position(time=ago())]))

    cached, current = await locate(provider), await locate(provider)

    assert stand_in.cache_modes == ["1", "1"]
    assert (cached.fix.cached, cached.billed) == (True, False)
    assert (current.fix.cached, current.billed) == (False, None)


async def test_an_age_of_zero_asks_for_a_current_fix(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position(time=ago()))

    located = await locate(provider, query(0))

    assert stand_in.cache_modes == ["2"]
    assert (located.fix.cached, located.billed, located.hints) == (False, True, ())


async def test_a_current_fix_with_an_old_time_comes_with_a_hint(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position(time=ago(minutes=6)))

    located = await locate(provider, query(0))

    assert (located.fix.cached, located.billed) == (False, True)
    assert "five minutes" in located.hints[0]


async def test_the_free_cache_is_asked_first(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position(time=ago(seconds=200)))

    located = await locate(provider, query(300))

    assert stand_in.cache_modes == ["0"]
    assert (located.fix.cached, located.billed) == (True, False)


@pytest.mark.parametrize(
    "cached",
    [
        pytest.param(httpx.Response(200, json=[position(time=ago(seconds=400))]), id="too old"),
        pytest.param(httpx.Response(200, json=[position(time="?")]), id="of unknown age"),
        pytest.param(httpx.Response(200, json=[position(time=ago(hours=-20))]), id="of the future"),
        pytest.param(httpx.Response(200, json=[position() | {"pd": {}}]), id="empty"),
        pytest.param(httpx.Response(200, json=[]), id="not mentioned"),
        pytest.param(httpx.Response(200, json=[failure("POSITION METHOD FAILURE", "no cache")]), id="error"),
        pytest.param(
            refusal("CACHE_UNAVAILABLE", "Location cache has no data for this device"), id="CACHE_UNAVAILABLE"
        ),
    ],
)
async def test_what_the_cache_lacks_is_found_anew(
    provider: Provider, stand_in: StandIn, cached: httpx.Response
) -> None:
    stand_in.answer = in_turn(cached, httpx.Response(200, json=[position(time=ago())]))

    located = await locate(provider, query(300))

    assert stand_in.cache_modes == ["0", "2"]
    assert (located.fix.cached, located.billed) == (False, True)


async def test_a_current_fix_that_is_still_too_old_is_refused(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position(time=ago(seconds=400)))

    with pytest.raises(MaxAgeNotMet):
        await locate(provider, query(300))

    assert stand_in.cache_modes == ["0", "2"]


async def test_a_fix_of_this_moment_meets_the_shortest_limit(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = lambda request: httpx.Response(
        200, json=[position(time=ago(seconds=60) if json_of(request)["cacheMode"] == "0" else ago())]
    )

    assert (await locate(provider, query(1))).billed


async def test_clocks_may_differ_a_little(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(position(time=ago(minutes=-1)))

    assert (await locate(provider, query(1))).hints == ()


async def test_a_refusal_from_the_cache_is_final(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(refusal("INVALID_PARAMETER", "Consent check failed"))

    with pytest.raises(ConsentRequired):
        await locate(provider, query(300))

    assert stand_in.cache_modes == ["0"]


@pytest.mark.parametrize("max_age_s", [None, 0, 300])
@pytest.mark.parametrize("x", ["0.0", "42.09551"])
async def test_an_error_is_the_answer_whatever_position_stands_beside_it(
    provider: Provider, stand_in: StandIn, max_age_s: int | None, x: str
) -> None:
    error = failure("POSITION METHOD FAILURE", "Exception code=ABSENT SUBSCRIBER")["error"]
    stand_in.answer = lambda _: httpx.Response(200, json=[position(x=x, y="0", time=ago()) | {"error": error}])

    with pytest.raises(DeviceUnreachable) as raised:
        await locate(provider, query(max_age_s))

    assert raised.value.vendor_message == "Exception code=ABSENT SUBSCRIBER"


async def test_a_position_that_the_vendor_does_not_vouch_for_is_kept_with_a_flag(
    provider: Provider, stand_in: StandIn
) -> None:
    stand_in.answer = replying(position() | {"error": failure("POSITION METHOD FAILURE", "ABSENT SUBSCRIBER")["error"]})

    with pytest.raises(DeviceUnreachable) as raised:
        await locate(provider)

    obtained = raised.value.obtained
    assert isinstance(obtained, Located)
    assert obtained.flags == ("error_beside_position",)
    assert obtained.error
    assert obtained.error.info == "ABSENT SUBSCRIBER"


async def test_a_refusal_leaves_nothing_of_the_position_beside_it(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(
        position() | {"error": failure("POSITION METHOD FAILURE", "Consent check failed")["error"]}
    )

    with pytest.raises(ConsentRequired) as raised:
        await locate(provider)

    assert not hasattr(raised.value, "obtained")


@pytest.mark.parametrize("time", ["?", "", "20990301120000"])
async def test_a_fix_of_doubtful_time_meets_no_limit(provider: Provider, stand_in: StandIn, time: str) -> None:
    stand_in.answer = lambda _: httpx.Response(200, json=[position(time=time)])

    with pytest.raises(MaxAgeNotMet) as raised:
        await locate(provider, query(300))

    assert stand_in.cache_modes == ["0", "2"]
    assert isinstance(raised.value.obtained, Located)


@pytest.mark.parametrize(("time", "hint"), [("", "time of the fix"), ("20990301120000", "future")])
@pytest.mark.parametrize("max_age_s", [None, 0])
async def test_without_a_limit_a_fix_of_doubtful_time_comes_with_a_hint(
    provider: Provider, stand_in: StandIn, time: str, hint: str, max_age_s: int | None
) -> None:
    stand_in.answer = replying(position(time=time))

    located = await locate(provider, query(max_age_s))

    assert hint in located.hints[0]


async def test_an_outage_of_the_cache_does_not_lead_to_a_bill(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(503))

    with pytest.raises(ProviderUnavailable):
        await locate(provider, query(300))

    assert set(stand_in.cache_modes) == {"0"}


async def test_devices_share_calls_of_twenty_and_keep_their_order(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = lambda request: httpx.Response(
        200,
        json=[position(device["mdn"], x=str(int(device["mdn"][5:]))) for device in json_of(request)["deviceList"]][
            ::-1
        ],
    )
    asked = [numbered(number) for number in range(45)]

    results = await locate_many(provider, asked)

    assert sorted(len(json_of(request)["deviceList"]) for request in stand_in.requests) == [5, 20, 20]
    assert [result.fix.latitude_deg for result in results if isinstance(result, Located)] == list(range(45))


async def test_accounts_and_freshness_are_not_mixed_in_a_call(provider: Provider, stand_in: StandIn) -> None:
    answering_all(stand_in, time=ago())
    asked = [
        numbered(1),
        numbered(2, account="A-2"),
        numbered(3, 0),
        numbered(4, 60),
        numbered(5),
        numbered(6, 60),
        numbered(7, 61),
    ]

    results = await locate_many(provider, asked)

    calls = {
        (json_of(request)["accountName"], json_of(request)["cacheMode"], len(json_of(request)["deviceList"]))
        for request in stand_in.requests
    }
    assert calls == {(ACCOUNT, "1", 2), ("A-2", "1", 1), (ACCOUNT, "2", 1), (ACCOUNT, "0", 2), (ACCOUNT, "0", 1)}
    assert all(isinstance(result, Located) for result in results)


async def test_only_what_the_cache_lacks_is_paid_for(provider: Provider, stand_in: StandIn) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        body = json_of(request)
        time = ago() if body["cacheMode"] == "2" else ago(minutes=10)
        return httpx.Response(
            200,
            json=[position(d["mdn"], time=ago() if d["mdn"].endswith("1") else time) for d in body["deviceList"]],
        )

    stand_in.answer = answer

    results = await locate_many(provider, [numbered(number, 60) for number in range(4)])

    assert [json_of(request)["cacheMode"] for request in stand_in.requests] == ["0", "2"]
    assert [device["mdn"][-1] for device in json_of(stand_in.requests[1])["deviceList"]] == ["0", "2", "3"]
    assert [result.billed for result in results if isinstance(result, Located)] == [True, False, True, True]


async def test_a_device_asked_about_twice_is_paid_for_once(provider: Provider, stand_in: StandIn) -> None:
    answering_all(stand_in)

    first, second = await locate_many(provider, [query(), query()])

    assert len(json_of(stand_in.requests[0])["deviceList"]) == 1
    assert isinstance(first, Located)
    assert first == second


async def test_two_devices_with_one_mdn_are_asked_about_separately(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = lambda request: httpx.Response(
        200, json=[position(x="1" if json_of(request)["deviceList"][0]["id"] == IMEI else "2")]
    )

    results = await locate_many(provider, [query(), query(id_="990001123456790")])

    assert [result.fix.latitude_deg for result in results if isinstance(result, Located)] == [1.0, 2.0]


@pytest.mark.parametrize(
    "words",
    [
        "Ownership or MDN validation failed",
        "Device not found",
        "Consent check failed",
        "Device type check failed",
        "Location cache has no data for this device",
    ],
)
async def test_one_device_does_not_spoil_the_call_for_the_others(
    provider: Provider, stand_in: StandIn, words: str
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        devices = json_of(request)["deviceList"]
        if any(device["mdn"].endswith("3") for device in devices):
            return refusal("INVALID_PARAMETER", words)
        return httpx.Response(200, json=[position(device["mdn"]) for device in devices])

    stand_in.answer = answer

    results = await locate_many(provider, [numbered(number) for number in range(5)])

    assert [isinstance(result, Located) for result in results] == [True, True, True, False, True]
    assert len(stand_in.requests) == 6


async def test_a_refusal_of_the_whole_call_reaches_every_device(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(refusal("INVALID_PARAMETER", "Unregistered account"))

    results = await locate_many(provider, [numbered(number) for number in range(3)])

    assert [type(result).__name__ for result in results] == ["ProviderRefused"] * 3
    assert len(stand_in.requests) == 1


async def test_a_session_that_stays_expired_reaches_every_device(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(session_expired())

    results = await locate_many(provider, [numbered(number) for number in range(3)])

    assert all(isinstance(result, ProviderMisconfigured) for result in results)
    assert stand_in.logins == 2


async def test_errors_of_devices_stay_with_them(provider: Provider, stand_in: StandIn) -> None:
    mdns = [numbered(number).device.mdn or "" for number in range(3)]
    stand_in.answer = replying(
        failure("X", "Ownership or MDN validation failed", mdns[0]),
        position(mdns[1]),
        failure("POSITIONING NOT ALLOWED", "", mdns[2]),
    )

    results = await locate_many(provider, [numbered(number) for number in range(3)])

    assert [type(result) for result in results] == [DeviceNotOwned, Located, ConsentRequired]


async def test_calls_of_a_batch_are_bounded_in_number(provider: Provider, stand_in: StandIn) -> None:
    under_way = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return httpx.Response(200, json=[position(device["mdn"]) for device in json_of(request)["deviceList"]])

    stand_in.answer = answer

    results = await locate_many(provider, [numbered(number) for number in range(400)])

    assert all(isinstance(result, Located) for result in results)
    assert 1 < most <= 8


async def test_nothing_to_ask_asks_nothing(provider: Provider, stand_in: StandIn) -> None:
    assert await locate_many(provider, []) == []
    assert stand_in.token_requests == 0


async def test_without_tokens_and_database_every_item_of_a_batch_says_so(build: Any) -> None:
    vault = AbsentVault()
    vault.away = True

    failed = await locate_many(build(vault), [query(), numbered(2)])

    assert [type(one) for one in failed] == [Unavailable, Unavailable]


async def test_positions_paid_for_survive_a_database_that_goes_away(build: Any, stand_in: StandIn) -> None:
    vault = AbsentVault()
    provider = build(vault)
    await locate(provider)

    def answer(request: httpx.Request) -> httpx.Response:
        if json_of(request)["accountName"] == "A-2":
            vault.away = True
            return session_expired()
        return httpx.Response(200, json=[position(device["mdn"]) for device in json_of(request)["deviceList"]])

    stand_in.answer = answer

    located, failed = await locate_many(provider, [numbered(1), numbered(2, account="A-2")])

    assert isinstance(located, Located)
    assert isinstance(failed, Unavailable)
