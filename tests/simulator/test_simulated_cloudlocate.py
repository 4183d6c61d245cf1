import base64
import contextlib
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator import create_simulator
from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.vendors.cloudlocate.mischief import FAULTS
from app.simulator.vendors.cloudlocate.refusal import CloudLocateRefused
from app.simulator.vendors.cloudlocate.ubx import decode_text, measurements
from app.simulator.world.gnss import gnss_payload
from app.simulator.world.ground import EAST, NORTH, SOUTH, WEST, Position

URL = "/cloudlocate/v1/position"
OFFICIAL = "tWIChjIAG/M7CcimDqBmvpr+A9pGYVEPdxhiyIqPToNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAyAA=="
MEAS20 = "tWIChBQAOZMrSy0rH6e9+4zOgOau+ZnY+yKnPg=="
MEAS50 = "tWIChjIAWwLDWtF1QCl6N+kkiCpUoaByVdTe6yNF78Jm0txisDxBql1fwr9l3Kg6dR6mBQZIo5HSug=="
MEASC12 = "tWICggwAg3M1TvE+oUQ5k8w57g0="
MEASD12 = "tWICgAwAzlJ2jzWM5TDcNQcJqgk="
EMPTY = "tWIChgAAiJo="
MEASX = (
    "tWICFIwAAQAAAADKWwcAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAQBAAAAAAAAAAAAASgBZAAAADj////0ASwBQOIBABQeAAAAAigBZAAAADj"
    "////0ASwBQOIBABQeAAAAAygBZAAAADj////0ASwBQOIBABQeAAAABCgBZAAAADj////0ASwBQOIBABQeAADSlg=="
)
WIFI = [
    {"BSSID": "02a1b2c3d4e5", "SignalStrength": -61, "Channel": 6},
    {"BSSID": "02a1b2c3d4f6", "SignalStrength": -74, "Channel": 11},
]
NOWHERE = [{"BSSID": f"02ffff00000{n}", "SignalStrength": -60} for n in range(2)]
CELLS = {
    "HomeMCC": 262,
    "HomeMNC": 1,
    "RAT": "LTE",
    "NetworkCells": [
        {"CellIdentifier": 26385408, "AreaCode": 4711, "SignalStrength": -95, "Code": 117, "Frequency": 1300,
         "IsServingCell": True},
        {"SignalStrength": -101, "Code": 288, "Frequency": 1300},
    ],
}  # fmt: skip


def gnss(payload: str, **more: Any) -> dict[str, Any]:
    return {"GNSSMeasurements": {"Payload": payload, **more}}


def bare(payload: str) -> str:
    return base64.b64encode(base64.b64decode(payload)[6:-2]).decode()


async def ask(options: Options, body: dict[str, Any]) -> httpx.Response:
    transport = httpx.ASGITransport(create_simulator(options))
    auth = (options.cloudlocate_username, options.cloudlocate_password)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator", auth=auth) as client:
        return await client.post(URL, json=body)


@pytest.mark.parametrize(
    ("payload", "accuracy_m"),
    [
        pytest.param(MEASX, 10, id="MEASX"),
        pytest.param(MEAS50, 10, id="MEAS50"),
        pytest.param(MEAS20, 25, id="MEAS20"),
        pytest.param(MEASC12, 35, id="MEASC12"),
        pytest.param(bare(MEAS50), 10, id="bare 50 bytes"),
        pytest.param(bare(MEAS20), 25, id="bare 20 bytes"),
        pytest.param(bare(MEASC12), 35, id="bare 12 bytes"),
    ],
)
async def test_every_gnss_message_is_solved_with_its_accuracy(
    thing: httpx.AsyncClient, payload: str, accuracy_m: float
) -> None:
    answer = (await thing.post(URL, json=gnss(payload))).json()

    assert answer["LocationSource"] == "GNSS"
    assert answer["Location"]["Unc68"] == pytest.approx(accuracy_m, rel=0.1)
    assert SOUTH <= answer["Location"]["Lat"] <= NORTH
    assert WEST <= answer["Location"]["Lon"] <= EAST


async def test_the_official_sample_is_solved_although_its_checksum_is_wrong(thing: httpx.AsyncClient) -> None:
    answer = (await thing.post(URL, json=gnss(OFFICIAL, DateTime="2023-09-14T13:02:01"))).json()

    assert (answer["Location"]["Lat"], answer["Location"]["Lon"]) == (47.285, 8.565)
    assert answer["DateTime"] == "2023-09-14T13:02:01"


async def test_a_strict_simulator_enforces_the_checksum() -> None:
    strict = Options(cloudlocate_strict_checksum=True)

    assert (await ask(strict, gnss(OFFICIAL))).status_code == 400
    assert (await ask(strict, gnss(MEAS50))).status_code == 200


async def test_a_framed_and_a_bare_measurement_lead_to_the_same_place(thing: httpx.AsyncClient) -> None:
    framed, unframed = [(await thing.post(URL, json=gnss(payload))).json() for payload in (MEAS50, bare(MEAS50))]

    assert framed["Location"] == unframed["Location"]


async def test_concatenated_frames_are_one_measurement(thing: httpx.AsyncClient) -> None:
    frames = base64.b64decode(EMPTY) + base64.b64decode(MEASX) * 2

    answer = (await thing.post(URL, json=gnss(base64.b64encode(frames).decode()))).json()

    assert answer["LocationSource"] == "GNSS"


async def test_a_measurement_made_here_leads_back_to_its_place(thing: httpx.AsyncClient) -> None:
    frame = gnss_payload(Position(40.712961, -74.006377), datetime(2026, 3, 2, 8, 14, 53, tzinfo=UTC))

    answer = (await thing.post(URL, json=gnss(base64.b64encode(frame).decode()))).json()

    assert (answer["Location"]["Lat"], answer["Location"]["Lon"]) == (40.712961, -74.006377)


@pytest.mark.parametrize(
    ("body", "source"),
    [
        pytest.param({**gnss(MEAS50), "WiFiMeasurements": WIFI, "CellMeasurements": CELLS}, "GNSS", id="all"),
        pytest.param({**gnss(EMPTY), "WiFiMeasurements": WIFI, "CellMeasurements": CELLS}, "WiFi", id="no satellites"),
        pytest.param({**gnss(EMPTY), "WiFiMeasurements": NOWHERE, "CellMeasurements": CELLS}, "Cellular", id="cell"),
    ],
)
async def test_the_first_kind_that_can_be_solved_wins(
    thing: httpx.AsyncClient, body: dict[str, Any], source: str
) -> None:
    assert (await thing.post(URL, json=body)).json()["LocationSource"] == source


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gnss(EMPTY), id="no satellites"),
        pytest.param(gnss(base64.b64encode(bytes(50)).decode()), id="zeros"),
        pytest.param({"WiFiMeasurements": NOWHERE}, id="access points on no map"),
        pytest.param({"CellMeasurements": {**CELLS, "HomeMCC": 999}}, id="cell on no map"),
    ],
)
async def test_what_cannot_be_solved_is_answered_without_a_location(
    thing: httpx.AsyncClient, state: State, body: dict[str, Any]
) -> None:
    answer = await thing.post(URL, json=body)

    assert answer.status_code == 200
    assert "Location" not in answer.json()
    assert state.counters.count("cloudlocate.no_position") == 1


async def test_only_the_first_25_access_points_count(thing: httpx.AsyncClient) -> None:
    first = [{"BSSID": f"02a1b2c3d4{n:02x}", "SignalStrength": -80} for n in range(25)]
    louder = {"BSSID": "02a1b2c3d4ff", "SignalStrength": -30}

    one, other = [(await thing.post(URL, json={"WiFiMeasurements": scan})).json() for scan in (first, [*first, louder])]

    assert one["Location"] == other["Location"]


async def test_ids_are_echoed(thing: httpx.AsyncClient) -> None:
    answer = (await thing.post(URL, json={"RequestId": "r" * 60, "DeviceId": "tracker:0042", **gnss(MEAS50)})).json()

    assert (answer["RequestId"], answer["DeviceId"]) == ("r" * 60, "tracker:0042")


async def test_the_time_is_now_when_none_is_given(thing: httpx.AsyncClient) -> None:
    answer = (await thing.post(URL, json={"WiFiMeasurements": WIFI})).json()

    assert answer["DateTime"] == "2026-03-02T08:15:00"
    assert "RequestId" not in answer


async def test_unknown_members_are_ignored(thing: httpx.AsyncClient) -> None:
    assert (await thing.post(URL, json={**gnss(MEAS50), "Colour": "red"})).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="nothing to locate by"),
        pytest.param({"RequestId": "r" * 61, **gnss(MEAS50)}, id="long RequestId"),
        pytest.param({"DeviceId": "d" * 33, **gnss(MEAS50)}, id="long DeviceId"),
        pytest.param({"DeviceId": "a b", **gnss(MEAS50)}, id="DeviceId off its pattern"),
        pytest.param(gnss("tWIChjIA*"), id="no base64"),
        pytest.param(gnss(MEAS50.rstrip("=")), id="no padding"),
        pytest.param(gnss(""), id="empty payload"),
        pytest.param(gnss(MEASD12), id="MEASD12"),
        pytest.param(gnss(base64.b64encode(b"x" * 19).decode()), id="bare payload of no known length"),
        pytest.param(gnss(base64.b64encode(base64.b64decode(MEAS50)[:-3]).decode()), id="cut off"),
        pytest.param(gnss(base64.b64encode(base64.b64decode(MEAS50) + b"\0").decode()), id="left over"),
        pytest.param(gnss(base64.b64encode(b"\xb5\x62\x02\x84\x02\x00ab\0\0").decode()), id="compact of wrong length"),
        pytest.param(gnss(base64.b64encode(b"\xb5\x62\x01\x07\x00\x00\x08\x19").decode()), id="class NAV"),
        pytest.param(gnss(MEAS50, DateTime="2026-03-02T08:15:00Z"), id="time with zone"),
        pytest.param(gnss(MEAS50, DateTime="2026-02-30T08:15:00"), id="no such day"),
        pytest.param({"GNSSMeasurements": {}}, id="no payload"),
        pytest.param({"WiFiMeasurements": WIFI[:1]}, id="one access point"),
        pytest.param({"WiFiMeasurements": [{**WIFI[0], "BSSID": "02:a1:b2:c3:d4:e5"}, WIFI[1]]}, id="separators"),
        pytest.param({"WiFiMeasurements": [{**WIFI[0], "SignalStrength": 61}, WIFI[1]]}, id="positive strength"),
        pytest.param({"WiFiMeasurements": [{"BSSID": "02a1b2c3d4e5"}, WIFI[1]]}, id="no strength"),
        pytest.param({"CellMeasurements": {**CELLS, "RAT": "NBIOT"}}, id="RAT"),
        pytest.param({"CellMeasurements": {**CELLS, "NetworkCells": []}}, id="no cells"),
        pytest.param({"CellMeasurements": {**CELLS, "NetworkCells": CELLS["NetworkCells"][1:]}}, id="none serving"),
        pytest.param({"CellMeasurements": {key: CELLS[key] for key in ("HomeMCC", "RAT", "NetworkCells")}}, id="MNC"),
        pytest.param({**gnss(MEAS50), "WiFiMeasurements": WIFI[:1]}, id="one bad part beside a good one"),
    ],
)
async def test_malformed_requests_are_refused_with_a_message(thing: httpx.AsyncClient, body: dict[str, Any]) -> None:
    refused = await thing.post(URL, json=body)

    assert refused.status_code == 400
    assert refused.json()["message"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"RequestId": "\xff"}', b'{"x":' + b"[" * 100_000], ids=range(5)
)
async def test_what_is_no_json_object_is_refused(thing: httpx.AsyncClient, content: bytes) -> None:
    refused = await thing.post(URL, content=content, headers={"Content-Type": "application/json"})

    assert refused.status_code == 400


@pytest.mark.parametrize("text", [MEAS50, base64.b64decode(MEAS50).hex(), base64.b64decode(MEAS50).hex().upper()])
async def test_a_measurement_may_come_as_text(thing: httpx.AsyncClient, text: str) -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8", "DateTime": "2026-03-01T23:59:59"}

    answer = (await thing.post(URL, content=text + "\n", headers=headers)).json()

    assert answer["LocationSource"] == "GNSS"
    assert answer["DateTime"] == "2026-03-01T23:59:59"


async def test_text_without_a_time_is_of_now(thing: httpx.AsyncClient) -> None:
    answer = (await thing.post(URL, content=MEAS50, headers={"Content-Type": "text/plain"})).json()

    assert answer["DateTime"] == "2026-03-02T08:15:00"


async def test_text_with_a_broken_time_is_refused(thing: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "text/plain", "DateTime": "yesterday"}

    assert (await thing.post(URL, content=MEAS50, headers=headers)).status_code == 400


async def test_other_content_types_are_refused(thing: httpx.AsyncClient) -> None:
    refused = await thing.post(URL, content=b"<x/>", headers={"Content-Type": "application/xml"})

    assert refused.status_code == 415


@pytest.mark.parametrize(("form", "body"), [("text", b"At least two access points are required"), ("empty", b"")])
async def test_errors_can_take_other_forms(form: Any, body: bytes) -> None:
    refused = await ask(Options(cloudlocate_errors=form), {"WiFiMeasurements": WIFI[:1]})

    assert (refused.status_code, refused.content) == (400, body)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *((f"sim-{status}", status) for status in (400, 401, 402, 403, 404, 413, 415, 422, 429, 500, 502, 503, 504)),
        ("sim-400-token", 400),
        ("sim-404-url", 404),
        ("sim-html", 502),
    ],
)
async def test_a_status_can_be_asked_for_by_request_id(thing: httpx.AsyncClient, name: str, status: int) -> None:
    refused = await thing.post(URL, json={"RequestId": f"{name}-and more", **gnss(MEAS50)})

    assert refused.status_code == status
    assert ("retry-after" in refused.headers) == (status == 429)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sim-empty", {"Location": None, "Lat": None}),
        ("sim-emptylocation", {"Location": {}}),
        ("sim-zero", {"Location.Lat": 0, "Location.Lon": 0}),
        ("sim-range", {"Location.Lat": 140.7}),
        ("sim-null", {"Location.Lat": None, "Location.Lon": None}),
        ("sim-nounc", {"Location.Unc68": None}),
        ("sim-alt", {"Location.Alt": 12.5}),
        ("sim-flat", {"Location": None, "Lat": 47.285, "Lon": 8.565}),
        ("sim-noecho", {"RequestId": None, "DeviceId": None}),
        ("sim-wrongecho", {"DeviceId": "another-device"}),
        ("sim-zone", {"DateTime": "2026-03-02T08:15:00.250Z"}),
        ("sim-nosource", {"LocationSource": None}),
        ("sim-oddsource", {"LocationSource": "Barometer"}),
        ("sim-text", {"Location.Lat": "47.285", "Location.Lon": "8.565"}),
    ],
)
async def test_an_answer_can_be_spoilt(thing: httpx.AsyncClient, name: str, change: dict[str, Any]) -> None:
    answer = (await thing.post(URL, json={"RequestId": name, "DeviceId": "d", **gnss(OFFICIAL)})).json()

    flat = {**answer, **{f"Location.{key}": value for key, value in answer.get("Location", {}).items()}}
    assert {key: flat.get(key) for key in change} == change


async def test_an_answer_can_be_broken_json(thing: httpx.AsyncClient) -> None:
    answer = await thing.post(URL, json={"RequestId": "sim-badjson", **gnss(OFFICIAL)})

    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


async def test_a_dropped_connection_in_memory_is_the_clients_own_error(thing: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadError):
        await thing.post(URL, json={"RequestId": "sim-drop", **gnss(OFFICIAL)})


async def test_a_slow_answer_is_a_right_answer(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("sim-slow", delay_seconds=0.001)

    answer = (await thing.post(URL, json=gnss(OFFICIAL))).json()

    assert answer["Location"]["Lat"] == 47.285


async def test_a_fault_of_one_device_id_leaves_others_alone(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("sim-503", device="pump-1")

    statuses = [
        (await thing.post(URL, json={"DeviceId": name, **gnss(OFFICIAL)})).status_code
        for name in ("pump-2", "pump-1", "pump-1")
    ]

    assert statuses == [200, 503, 200]


async def test_every_fault_of_the_position_call_can_be_pending(thing: httpx.AsyncClient, state: State) -> None:
    assert state.faults.catalogue.keys() >= FAULTS.keys()


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("source_short", ["GPS", "Wi-Fi", "Cell"]),
        ("source_upper_case", ["GNSS", "WIFI", "CELLULAR"]),
        ("source_lower_case", ["gnss", "wlan", "cell_id"]),
    ],
)
async def test_sources_have_other_spellings(
    thing: httpx.AsyncClient, state: State, spelling: str, words: list[str]
) -> None:
    state.spellings.add(spelling)

    bodies: list[dict[str, Any]] = [gnss(MEAS50), {"WiFiMeasurements": WIFI}, {"CellMeasurements": CELLS}]
    sources = [(await thing.post(URL, json=body)).json()["LocationSource"] for body in bodies]

    assert sources == words


async def test_the_time_can_always_be_that_of_the_answer(thing: httpx.AsyncClient, state: State) -> None:
    state.faults.put("time_of_answer")

    first, second = [
        (await thing.post(URL, json=gnss(MEAS50, DateTime="2026-03-01T00:00:00"))).json()["DateTime"] for _ in range(2)
    ]

    assert (first, second) == ("2026-03-02T08:15:00", "2026-03-01T00:00:00")


async def test_the_imei_is_echoed_only_where_that_is_switched_on(thing: httpx.AsyncClient, state: State) -> None:
    body = {"CellMeasurements": {**CELLS, "IMEI": "990001123456782"}}
    silent = (await thing.post(URL, json=body)).json()
    state.spellings.add("imei_echoed")

    echoing = (await thing.post(URL, json=body)).json()

    assert "IMEI" not in silent
    assert echoing["IMEI"] == "990001123456782"


@given(st.binary(max_size=200))
def test_any_bytes_are_measurements_or_refused(data: bytes) -> None:
    for candidate in (data, b"\xb5\x62" + data, b"\xb5\x62\x02\x14" + data):
        with contextlib.suppress(CloudLocateRefused):
            assert measurements(candidate, strict_checksum=False)


@given(st.binary(max_size=100))
def test_any_text_is_decoded_or_refused(text: bytes) -> None:
    with contextlib.suppress(CloudLocateRefused):
        assert isinstance(decode_text(text), bytes)
