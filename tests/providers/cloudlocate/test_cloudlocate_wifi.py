import pytest
from cloudlocate_stage import TWO_POINTS, Assess, MakeLocator, Vendor, by_wifi, measured, soon
from cloudlocate_stage import ubx as vector
from hypothesis import given
from hypothesis import strategies as st

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


def test_the_same_access_point_twice_is_one(assess: Assess) -> None:
    assessment = assess(by_wifi(TWO_POINTS[0], TWO_POINTS[0]))

    assert not assessment.usable
    assert assessment.hints[0].startswith("wifi: ")


UNUSABLE_POINTS = [
    pytest.param(AccessPoint(mac="000000000000", signal_dbm=-50), "macAddress", "all zeros", id="zeros"),
    pytest.param(AccessPoint(mac="ffffffffffff", signal_dbm=-50), "macAddress", "multicast", id="broadcast"),
    pytest.param(AccessPoint(mac="01005e000001", signal_dbm=-50), "macAddress", "multicast", id="multicast"),
    pytest.param(AccessPoint(mac="02a1b2c3d4aa"), "signalStrength", "needs its signalStrength", id="no strength"),
    *(
        pytest.param(AccessPoint(mac="02a1b2c3d4aa", signal_dbm=dbm), "signalStrength", "must be in dBm", id=f"{dbm}")
        for dbm in (0, 1, 58, -121)
    ),
]


@pytest.mark.parametrize(("point", "member", "reason"), UNUSABLE_POINTS)
async def test_an_access_point_that_cannot_be_used_is_left_out_with_a_hint_that_names_it(
    point: AccessPoint, member: str, reason: str, locator: MakeLocator, vendor: Vendor
) -> None:
    query = by_wifi(TWO_POINTS[0], point, TWO_POINTS[1])
    cloudlocate = locator()

    hints = cloudlocate.assess(query).hints
    await cloudlocate.locate(query, request_id="r", deadline=soon())

    assert [one["BSSID"] for one in vendor.asked["WiFiMeasurements"]] == [one.mac for one in TWO_POINTS]
    assert any(
        hint.startswith("wifi: left out /measurements/wifiAccessPoints/1: ") and reason in hint for hint in hints
    )
    assert not any("were sent" in hint for hint in hints)


@pytest.mark.parametrize(("point", "member", "reason"), UNUSABLE_POINTS)
def test_a_scan_that_is_too_small_says_which_access_points_do_not_count(
    point: AccessPoint, member: str, reason: str, assess: Assess
) -> None:
    assessment = assess(by_wifi(TWO_POINTS[0], point))

    assert "2 sent, 1 can be used" in assessment.reason
    assert [error.pointer for error in assessment.errors] == [
        f"/measurements/wifiAccessPoints/1/{member}",
        "/measurements/wifiAccessPoints",
    ]
    assert reason in assessment.errors[0].detail


def test_the_vendors_own_sample_names_the_multicast_address_in_it(assess: Assess) -> None:
    # S5, Using Wi-Fi RAW data: the lowest bit of 0xa1 marks a group of stations.
    sample = [AccessPoint(mac=mac, signal_dbm=dbm) for mac, dbm in (("a1b2c3d4e6f7", -64), ("a8b9c6f2d3e8", -71))]

    assessment = assess(by_wifi(*sample))

    assert (assessment.errors[0].pointer, assessment.errors[0].code) == (
        "/measurements/wifiAccessPoints/0/macAddress",
        "NOT_AN_ACCESS_POINT",
    )


def test_hints_about_a_long_scan_stay_short(assess: Assess) -> None:
    points = [AccessPoint(mac=f"02a1b2c3d{n:03x}", signal_dbm=58) for n in range(1000)]

    hints = assess(by_wifi(*TWO_POINTS, *points)).hints

    assert any(hint.endswith("like another unit") and "and 990 more" in hint for hint in hints)
    assert len(assess(by_wifi(*points)).errors) == 100


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
