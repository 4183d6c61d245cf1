import base64
from datetime import UTC, datetime, timedelta

import pytest
from pyubx2 import UBXReader

from app.simulator.world.clock import ManualClock
from app.simulator.world.gnss import gnss_payload, solve_gnss
from app.simulator.world.ground import EAST, NORTH, SOUTH, WEST, distance_m
from app.simulator.world.radio import MCC, MNC, UNKNOWN_BSSID_PREFIX, UNKNOWN_MCC
from app.simulator.world.world import World

AT = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
ACCOUNT, OTHER_ACCOUNT = "0844559123-00001", "0844559123-00002"


def make_world(seed: int = 1, fleet: int = 20_000) -> World:
    return World(seed, ManualClock(AT), fleet, ACCOUNT, OTHER_ACCOUNT)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def test_the_first_device_is_the_one_of_the_documentation(world: World) -> None:
    device = world.device(0)

    assert (device.imei, device.mdn, device.account) == ("990001123456782", "5085550101", ACCOUNT)


def test_every_device_is_found_by_each_of_its_identifiers(world: World) -> None:
    for device in world.devices(0, 200):
        assert world.device_by_imei(device.imei) is device
        assert world.device_by_mdn(device.mdn) is device
        assert device.meid is None or world.device_by_id("MEID", device.meid) is device
        assert device.esn is None or world.device_by_id("esn", device.esn.lower()) is device


def test_no_two_devices_share_an_identifier(world: World) -> None:
    devices = world.devices()

    identifiers = [identifier for device in devices for identifier in device.identifiers]

    assert len(devices) == 20_000
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("kind", ["imei", "mdn", "meid", "esn", "iccid"])
@pytest.mark.parametrize(
    "identifier", ["", "1", "none", "990001123456783", "9999999999", "A0FFFFFFFFFFFF", "²", "5" * 5000]
)
def test_strangers_are_not_found(world: World, kind: str, identifier: str) -> None:
    assert world.device_by_id(kind, identifier) is None


def test_some_devices_belong_to_the_other_account(world: World) -> None:
    accounts = [device.account for device in world.devices(0, 20)]

    assert accounts.count(OTHER_ACCOUNT) == 2


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    positions = [world.position_of(world.device(3), AT) for world in (make_world(), make_world(), make_world(seed=2))]

    assert positions[0] == positions[1] != positions[2]


def test_devices_move_at_the_speed_of_vehicles_and_stay_in_the_box(world: World) -> None:
    for device in world.devices(0, 300):
        here, there = (world.position_of(device, AT + timedelta(seconds=s)) for s in (0, 10))

        assert 0 < distance_m(here, there) < 400
        assert SOUTH < here.latitude < NORTH
        assert WEST < here.longitude < EAST


def test_a_wifi_scan_is_solved_to_within_the_stated_accuracy(world: World) -> None:
    for device in world.devices(0, 200):
        position = world.position_of(device, AT)

        solved = world.radio.solve_wifi((ap.bssid, ap.rssi_dbm) for ap in world.radio.scan_wifi(position))

        assert solved is not None
        assert distance_m(position, solved) < 30


def test_a_cell_scan_is_solved_to_within_a_cell(world: World) -> None:
    for device in world.devices(0, 200):
        position = world.position_of(device, AT)
        serving = world.radio.scan_cells(position)[0]

        solved = world.radio.solve_cell(MCC, MNC, serving.cell_id)

        assert serving.serving
        assert solved is not None
        assert distance_m(position, solved) < 1200


def test_a_gnss_measurement_is_solved_exactly(world: World) -> None:
    position = world.position_of(world.device(5), AT)

    solved = solve_gnss(gnss_payload(position, AT)[6:-2])

    assert solved is not None
    assert distance_m(position, solved) < 0.05


def test_a_gnss_measurement_is_a_frame_that_others_can_read(world: World) -> None:
    frame = gnss_payload(world.position_of(world.device(5), AT), AT)

    parsed = UBXReader.parse(frame)

    assert parsed.identity == "RXM-MEAS50"


def test_access_points_and_cells_of_nobody_have_a_place_all_the_same(world: World) -> None:
    radio = world.radio
    scan = [("02a1b2c3d4e5", -61), ("02a1b2c3d4f6", -74)]

    assert radio.solve_wifi(scan) == radio.solve_wifi(reversed(scan)) is not None
    assert radio.solve_cell(262, 1, 26385408) == make_world(seed=9).radio.solve_cell(262, 1, 26385408) is not None


def test_what_is_reserved_as_unknown_has_no_place(world: World) -> None:
    unknown = [(UNKNOWN_BSSID_PREFIX + "000001", -50), (UNKNOWN_BSSID_PREFIX + "000002", -60)]

    assert world.radio.solve_wifi(unknown) is None
    assert world.radio.solve_cell(UNKNOWN_MCC, 1, 26385408) is None
    assert solve_gnss(bytes(50)) is None


def test_access_points_on_the_map_outweigh_strangers(world: World) -> None:
    position = world.position_of(world.device(0), AT)
    scan = [(ap.bssid, ap.rssi_dbm) for ap in world.radio.scan_wifi(position)]

    solved = world.radio.solve_wifi([("02a1b2c3d4e5", -20), *scan])

    assert solved is not None
    assert distance_m(position, solved) < 30


def test_an_address_in_the_maps_range_but_outside_the_box_counts_as_a_stranger(world: World) -> None:
    on_map = world.radio.scan_wifi(world.position_of(world.device(0), AT))[0].bssid
    outside = on_map[:6] + f"{int(on_map[6:], 16) ^ 0xF00F00:06x}"

    assert world.radio.solve_wifi([(outside, -50)]) is not None


def test_the_official_sample_has_a_fixed_place() -> None:
    sample = base64.b64decode("tWIChjIAG/M7CcimDqBmvpr+A9pGYVEPdxhiyIqPToNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAyAA==")

    solved = solve_gnss(sample[6:-2])

    assert solved is not None
    assert (solved.latitude, solved.longitude) == (47.285, 8.565)
