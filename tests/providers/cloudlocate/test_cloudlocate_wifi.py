import pytest
from cloudlocate_stage import TWO_POINTS, Assess, MakeLocator, Vendor, by_wifi, measured, soon
from cloudlocate_stage import ubx as vector
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidArgument
from app.model import AccessPoint, GnssEvidence
from app.providers.cloudlocate import wifi
from app.providers.cloudlocate.findings import Findings

POINTS = st.builds(
    AccessPoint,
    mac=st.integers(0, 60).map(lambda number: f"{number * 7:012x}"),
    signal_dbm=st.none() | st.integers(-120, -1),
    channel=st.none() | st.integers(0, 196),
)


@given(st.lists(POINTS, max_size=60))
def test_what_is_sent_is_distinct_strongest_first_and_at_most_25(points: list[AccessPoint]) -> None:
    sent = wifi.to_measurements(points, Findings()) or []

    strengths = [one.signal_strength for one in sent]
    assert strengths == sorted(strengths, reverse=True)
    assert len({one.bssid for one in sent}) == len(sent) <= 25
    assert len(sent) != 1
    assert all(one.channel != 0 for one in sent)


async def test_access_points_go_out_in_the_vendors_words(locator: MakeLocator, vendor: Vendor) -> None:
    await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert vendor.asked["WiFiMeasurements"] == [
        {"BSSID": "02a1b2c3d4e5", "SignalStrength": -61, "Channel": 6},
        {"BSSID": "02a1b2c3d4f6", "SignalStrength": -74, "Channel": 11},
    ]


async def test_an_unknown_channel_is_not_sent(locator: MakeLocator, vendor: Vendor) -> None:
    points = (
        AccessPoint(mac="02a1b2c3d4e5", signal_dbm=-61),
        AccessPoint(mac="02a1b2c3d4f6", signal_dbm=-7, channel=0),
    )

    await locator().locate(by_wifi(*points), request_id="r", deadline=soon())

    assert all("Channel" not in one for one in vendor.asked["WiFiMeasurements"])


async def test_the_strongest_sight_of_an_access_point_is_kept(locator: MakeLocator, vendor: Vendor) -> None:
    again = AccessPoint(mac=TWO_POINTS[1].mac, signal_dbm=-40)

    await locator().locate(by_wifi(*TWO_POINTS, again), request_id="r", deadline=soon())

    assert [one["SignalStrength"] for one in vendor.asked["WiFiMeasurements"]] == [-40, -61]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(TWO_POINTS[0], id="twice the same"),
        pytest.param(AccessPoint(mac="000000000000", signal_dbm=-50), id="zeros"),
        pytest.param(AccessPoint(mac="ffffffffffff", signal_dbm=-50), id="broadcast"),
        pytest.param(AccessPoint(mac="01005e000001", signal_dbm=-50), id="multicast"),
        pytest.param(AccessPoint(mac="02a1b2c3d4f6"), id="without strength"),
    ],
)
def test_fewer_than_two_distinct_access_points_are_unusable(other: AccessPoint, assess: Assess) -> None:
    assessment = assess(by_wifi(TWO_POINTS[0], other))

    assert not assessment.usable
    assert assessment.hints[0].startswith("wifi: ")


@pytest.mark.parametrize("strength", [0, 1, 58, -121])
def test_a_strength_in_another_unit_is_refused_with_a_pointer_to_it(strength: int, assess: Assess) -> None:
    with pytest.raises(InvalidArgument) as caught:
        assess(by_wifi(*TWO_POINTS, AccessPoint(mac="02a1b2c3d4aa", signal_dbm=strength)))

    assert [error.pointer for error in caught.value.errors] == ["/measurements/wifiAccessPoints/2/signalStrength"]


@pytest.mark.parametrize(
    ("count", "hint"),
    [(2, "wifi: only two access points"), (26, "wifi: more than 25"), (3, "wifi: the channel")],
)
def test_hints_tell_what_would_help(count: int, hint: str, assess: Assess) -> None:
    points = [AccessPoint(mac=f"02a1b2c3d4{n:02x}", signal_dbm=-50) for n in range(count)]

    assert any(one.startswith(hint) for one in assess(by_wifi(*points)).hints)


def test_hints_hold_no_identifier(assess: Assess) -> None:
    hints = assess(by_wifi(*TWO_POINTS, AccessPoint(mac="02a1b2c3d4aa"))).hints

    assert hints
    assert not any("02a1b2" in hint for hint in hints)


def test_a_scan_that_is_too_small_does_not_spoil_the_rest(assess: Assess) -> None:
    query = measured(gnss=GnssEvidence(payload=vector("MEAS50")), access_points=TWO_POINTS[:1])

    assert assess(query).usable
