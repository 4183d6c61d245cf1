import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudlocate_stage import (
    NOW,
    OFFICIAL,
    OFFICIAL_REPAIRED,
    TWO_POINTS,
    VECTORS,
    Assess,
    MakeLocator,
    Vendor,
    by_gnss,
    measured,
    soon,
)
from cloudlocate_stage import ubx as vector
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidArgument
from app.model import GnssEvidence, LocationQuery
from app.providers.cloudlocate import ubx
from app.providers.cloudlocate.gnss import to_vendor_time

NAV_PVT = ubx.to_bytes(ubx.Frame(identity=ubx.NAV_PVT, payload=bytes(92)))
MEASX_WITHOUT_SATELLITES = ubx.to_bytes(ubx.Frame(identity=ubx.MEASX, payload=bytes(44)))
MEASX_WITHOUT_TIME = ubx.to_bytes(ubx.Frame(identity=ubx.MEASX, payload=bytes(34) + b"\x01" + bytes(33)))


def altered(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


async def test_the_vendors_own_sample_passes_by_default_as_it_came(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_gnss(vector("OFFICIAL")), request_id="r", deadline=soon())

    assert vendor.asked["GNSSMeasurements"]["Payload"] == OFFICIAL


@pytest.mark.parametrize(("policy", "sent"), [("warn", OFFICIAL), ("ignore", OFFICIAL), ("repair", OFFICIAL_REPAIRED)])
async def test_a_wrong_checksum_is_treated_by_policy(
    policy: str, sent: str | None, locator: MakeLocator, vendor: Vendor
) -> None:
    await locator(checksum_policy=policy).locate(by_gnss(vector("OFFICIAL")), request_id="r", deadline=soon())

    assert vendor.asked["GNSSMeasurements"]["Payload"] == sent


@pytest.mark.parametrize(("policy", "mentions"), [("warn", True), ("repair", True), ("ignore", False)])
def test_a_wrong_checksum_is_mentioned_by_policy(*, policy: str, mentions: bool, assess: Assess) -> None:
    hints = assess(by_gnss(vector("OFFICIAL"), NOW), checksum_policy=policy).hints

    assert any("checksum" in hint for hint in hints) is mentions


@pytest.mark.parametrize(
    ("payload", "policy"),
    [
        pytest.param(vector("OFFICIAL"), {"checksum_policy": "reject"}, id="compact, where devices are always right"),
        pytest.param(altered(vector("MEASX")), {}, id="MEASX, whose checksum the service checks"),
        pytest.param(altered(vector("MEASX")), {"checksum_policy": "ignore"}, id="MEASX, whatever compact ones may be"),
    ],
)
def test_a_message_whose_checksum_has_to_be_right_is_not_sent_with_a_wrong_one(
    payload: bytes, policy: dict[str, str], assess: Assess
) -> None:
    alone = assess(by_gnss(payload), **policy)
    beside_others = assess(measured(gnss=GnssEvidence(payload=payload), access_points=TWO_POINTS), **policy)

    assert not alone.usable
    assert [(error.pointer, error.code) for error in alone.errors] == [
        ("/measurements/gnss/payload", "CHECKSUM_MISMATCH")
    ]
    assert beside_others.usable
    assert any("checksum" in hint for hint in beside_others.hints)


async def test_epochs_with_a_wrong_checksum_are_left_out_of_a_row(locator: MakeLocator, vendor: Vendor) -> None:
    query = by_gnss(vector("MEASX") + altered(vector("MEASX")) + vector("MEASX"))
    cloudlocate = locator()

    hints = cloudlocate.assess(query).hints
    await cloudlocate.locate(query, request_id="r", deadline=soon())

    assert base64.b64decode(vendor.asked["GNSSMeasurements"]["Payload"]) == vector("MEASX") * 2
    assert "gnss: frames with a wrong checksum were left out" in hints


async def test_a_measx_message_with_a_wrong_checksum_is_treated_by_its_own_policy(
    locator: MakeLocator, vendor: Vendor
) -> None:
    wrong = by_gnss(altered(vector("MEASX")))

    await locator(measx_checksum_policy="warn").locate(wrong, request_id="r", deadline=soon())
    as_it_came = vendor.asked["GNSSMeasurements"]["Payload"]
    await locator(measx_checksum_policy="repair").locate(wrong, request_id="r", deadline=soon())

    assert base64.b64decode(as_it_came) == altered(vector("MEASX"))
    assert vendor.asked["GNSSMeasurements"]["Payload"] == VECTORS["MEASX"]


@pytest.mark.parametrize("name", ["MEAS20", "MEAS50", "MEASC12", "MEASX"])
async def test_every_accepted_message_is_sent_whole(name: str, locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_gnss(vector(name)), request_id="r", deadline=soon())

    assert vendor.asked["GNSSMeasurements"] == {"Payload": VECTORS[name]}


async def test_epochs_in_a_row_are_sent_together(locator: MakeLocator, vendor: Vendor) -> None:
    epochs = vector("MEASX") * 3

    await locator().locate(by_gnss(epochs), request_id="r", deadline=soon())

    assert base64.b64decode(vendor.asked["GNSSMeasurements"]["Payload"]) == epochs


async def test_a_bare_payload_is_wrapped(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_gnss(vector("MEAS50")[6:-2]), request_id="r", deadline=soon())

    assert vendor.asked["GNSSMeasurements"]["Payload"] == VECTORS["MEAS50"]


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        pytest.param(vector("MEAS50"), vector("MEAS50")[6:-2], id="MEAS50"),
        pytest.param(vector("MEASC12"), vector("MEASC12")[6:-2], id="MEASC12"),
        pytest.param(vector("OFFICIAL"), vector("OFFICIAL")[6:-2], id="the vendor's sample"),
        pytest.param(vector("MEAS20")[6:-2], vector("MEAS20")[6:-2], id="a bare one"),
        pytest.param(vector("MEASX"), vector("MEASX"), id="MEASX stays framed"),
        pytest.param(vector("MEAS50") * 2, vector("MEAS50") * 2, id="two of them stay framed"),
    ],
)
async def test_frames_are_stripped_where_the_service_takes_payloads_alone(
    payload: bytes, sent: bytes, locator: MakeLocator, vendor: Vendor
) -> None:
    await locator(frame_policy="strip").locate(by_gnss(payload), request_id="r", deadline=soon())

    assert base64.b64decode(vendor.asked["GNSSMeasurements"]["Payload"]) == sent


async def test_a_bare_payload_stays_bare_when_so_configured(locator: MakeLocator, vendor: Vendor) -> None:
    bare = vector("MEAS20")[6:-2]

    await locator(frame_policy="passthrough").locate(by_gnss(bare), request_id="r", deadline=soon())

    assert base64.b64decode(vendor.asked["GNSSMeasurements"]["Payload"]) == bare


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(vector("MEAS50")[:-1], id="truncated"),
        pytest.param(vector("MEAS50") + b"\0", id="leftover"),
        pytest.param(bytes(12), id="ambiguous"),
        pytest.param(vector("MEAS50") * 200, id="too long"),
    ],
)
def test_a_malformed_payload_is_refused_even_beside_good_parts(payload: bytes, assess: Assess) -> None:
    query = measured(gnss=GnssEvidence(payload=payload), access_points=TWO_POINTS)

    with pytest.raises(InvalidArgument) as caught:
        assess(query)

    assert [error.pointer for error in caught.value.errors] == ["/measurements/gnss/payload"]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(vector("EMPTY"), id="compact without satellites"),
        pytest.param(MEASX_WITHOUT_SATELLITES, id="MEASX without satellites"),
        pytest.param(NAV_PVT, id="NAV-PVT"),
        pytest.param(vector("MEASD12"), id="MEASD12"),
        pytest.param(vector("MEAS50") + NAV_PVT, id="an accepted message with one that is not"),
    ],
)
def test_a_payload_that_cannot_be_solved_is_unusable(payload: bytes, assess: Assess) -> None:
    assessment = assess(by_gnss(payload))

    assert not assessment.usable
    assert assessment.hints[0].startswith("gnss: ")
    assert assessment.hints[0] in assessment.reason
    assert [error.pointer for error in assessment.errors] == ["/measurements/gnss/payload"]


def test_a_payload_that_cannot_be_solved_is_left_out_beside_good_parts(assess: Assess) -> None:
    query = measured(gnss=GnssEvidence(payload=vector("EMPTY")), access_points=TWO_POINTS)

    assessment = assess(query)

    assert assessment.usable
    assert any(hint.startswith("gnss: ") for hint in assessment.hints)


def test_further_messages_are_accepted_by_setting(assess: Assess) -> None:
    pair = vector("MEASD12") + vector("MEASC12")

    assert assess(by_gnss(pair), allowed_ubx_ids="02/80, 02/82").usable


def test_a_measurement_older_than_the_limit_is_unusable(assess: Assess) -> None:
    old = NOW - timedelta(days=8)
    of_its_own = assess(by_gnss(vector("MEAS50"), old))
    of_the_scan = assess(measured(gnss=GnssEvidence(payload=vector("MEAS50")), observed_at=old))

    assert (of_its_own.usable, of_the_scan.usable) == (False, False)
    assert [error.pointer for error in of_its_own.errors] == ["/measurements/gnss/observedAt"]
    assert [error.pointer for error in of_the_scan.errors] == ["/measurements/observedAt"]


def test_a_measurement_older_than_an_hour_is_usable_with_a_hint(assess: Assess) -> None:
    assessment = assess(by_gnss(vector("MEAS50"), NOW - timedelta(hours=2)))

    assert assessment.usable
    assert any("over an hour old" in hint for hint in assessment.hints)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (
            measured(gnss=GnssEvidence(payload=vector("MEAS50"), observed_at=NOW + timedelta(seconds=61))),
            "/measurements/gnss/observedAt",
        ),
        (measured(access_points=TWO_POINTS, observed_at=NOW + timedelta(hours=1)), "/measurements/observedAt"),
    ],
)
def test_a_time_in_the_future_is_refused(query: LocationQuery, pointer: str, assess: Assess) -> None:
    with pytest.raises(InvalidArgument) as caught:
        assess(query)

    assert caught.value.errors[0].pointer == pointer


def test_a_clock_that_is_a_little_fast_is_forgiven(assess: Assess) -> None:
    assert assess(by_gnss(vector("MEAS50"), NOW + timedelta(seconds=60))).usable


@pytest.mark.parametrize(
    ("payload", "observed_at", "assumed"),
    [
        (vector("MEAS50"), None, True),
        (vector("MEAS50"), NOW, False),
        (vector("MEASX"), None, False),
        (MEASX_WITHOUT_TIME, None, True),
    ],
)
def test_the_time_is_said_to_be_assumed_only_where_it_is(
    *, payload: bytes, observed_at: datetime | None, assumed: bool, assess: Assess
) -> None:
    hints = assess(by_gnss(payload, observed_at)).hints

    assert any(hint.startswith("gnss: time assumed") for hint in hints) is assumed


def test_weak_reception_is_hinted_at(assess: Assess) -> None:
    assert any("fewer than five satellites" in hint for hint in assess(by_gnss(vector("MEASX"), NOW)).hints)


async def test_the_time_goes_out_only_when_the_caller_gave_one(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_gnss(vector("MEAS50")), request_id="r", deadline=soon())

    assert "DateTime" not in vendor.asked["GNSSMeasurements"]


async def test_the_time_of_the_scan_holds_for_gnss_that_has_none_of_its_own(
    locator: MakeLocator, vendor: Vendor
) -> None:
    at = datetime(2026, 3, 14, 9, 26, 53, 900_000, tzinfo=UTC)
    query = measured(gnss=GnssEvidence(payload=vector("MEAS50")), observed_at=at)

    await locator().locate(query, request_id="r", deadline=soon())

    assert vendor.asked["GNSSMeasurements"]["DateTime"] == "2026-03-14T09:26:53"


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone is drawn
    st.integers(-14 * 60, 14 * 60),
)
def test_times_go_out_in_utc_and_whole_seconds(naive: datetime, offset_min: int) -> None:
    at = naive.replace(tzinfo=timezone(timedelta(minutes=offset_min)))

    written = to_vendor_time(at)

    assert len(written) == 19
    assert timedelta(0) <= at - datetime.fromisoformat(written + "Z") < timedelta(seconds=1)


async def test_an_operator_sees_how_many_payloads_went_out_with_a_wrong_checksum(
    locator: MakeLocator, vendor: Vendor
) -> None:
    cloudlocate = locator()

    for name in ("OFFICIAL", "MEAS50", "OFFICIAL"):
        await cloudlocate.locate(by_gnss(vector(name)), request_id="r", deadline=soon())

    assert cloudlocate.health().notes == ("2 GNSS payloads were sent although their UBX checksum is wrong",)
