"""Where a device has been: `/devices/{identifier}/track`."""

from datetime import timedelta
from typing import Any
from xml.etree import ElementTree as ET

import gpxpy
import httpx
import pytest
from fastapi import FastAPI

from app.storage.writer import Entry
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACK = f"/devices/{IMEI}/track"
KML = "{http://www.opengis.net/kml/2.2}"
GOOGLE = "{http://www.google.com/kml/ext/2.2}"


async def drive(app: FastAPI, points: int = 3, **row: Any) -> None:
    """Store fixes a minute apart, newest first, each a little further north."""
    rows = [located(NOON + timedelta(minutes=minute), latitude=42 + minute / 100, **row) for minute in range(points)]
    await app.state.storage.writer.submit(Entry(reports=tuple(reversed(rows))))


def accept(media_type: str) -> dict[str, str]:
    return {"Accept": media_type}


async def test_a_track_lists_the_reports_of_fixes_oldest_first(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await drive(gateway_app)

    track = (await gateway.get(TRACK)).json()

    listed = (await gateway.get("/reports", params={"order": "asc"})).json()
    assert [one["location"]["latitude"] for one in track["track"]] == [42, 42.01, 42.02]
    assert track == {"track": listed["reports"], "next": None}


@pytest.mark.parametrize("identifier", [IMEI, IMEI[:14], MDN, "+15085550101", "pump-0417"])
async def test_a_track_is_found_by_every_identifier(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, identifier: str
) -> None:
    await drive(gateway_app, name="pump-0417")

    response = await gateway.get(f"/devices/{identifier}/track")

    assert len(response.json()["track"]) == 3


async def test_a_track_leaves_out_errors_and_what_may_not_be_believed(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    doubtful = located(NOON, latitude=0, longitude=0, flags=("zero_island",))
    await gateway_app.state.storage.writer.submit(Entry(reports=(doubtful, failed(NOON))))

    response = await gateway.get(TRACK)

    assert response.json() == {"track": [], "next": None}


async def test_since_and_until_mean_the_fix(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await drive(gateway_app)
    window = {"since": "2026-03-02T12:01:00Z", "until": "2026-03-02T12:02:00Z"}

    track = (await gateway.get(TRACK, params=window)).json()["track"]

    assert [one["location"]["timestamp"] for one in track] == ["2026-03-02T12:01:00Z"]


@pytest.mark.parametrize("media_type", ["application/json", "application/geo+json"])
async def test_pages_of_a_track_follow_each_other(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, media_type: str
) -> None:
    await drive(gateway_app, points=5)

    first = (await gateway.get(TRACK, params={"limit": "3"}, headers=accept(media_type))).json()
    second = (
        await gateway.get(TRACK, params={"limit": "3", "cursor": first["next"]}, headers=accept(media_type))
    ).json()

    pages = [page.get("track") or page["geometry"]["coordinates"] for page in (first, second)]
    assert ([len(page) for page in pages], second["next"]) == ([3, 2], None)


async def test_geojson_is_a_line_with_the_times_of_its_positions(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await drive(gateway_app, points=2)

    response = await gateway.get(TRACK, headers=accept("application/geo+json"))

    feature = response.json()
    assert response.headers["content-type"] == "application/geo+json"
    assert (feature["type"], feature["next"]) == ("Feature", None)
    assert feature["geometry"] == {"type": "LineString", "coordinates": [[-71.26483, 42.0], [-71.26483, 42.01]]}
    times = feature["properties"]["coordinateProperties"]["times"]
    assert times == ["2026-03-02T12:00:00Z", "2026-03-02T12:01:00Z"]


@pytest.mark.parametrize(("points", "geometry"), [(1, {"type": "Point", "coordinates": [-71.26483, 42.0]}), (0, None)])
async def test_geojson_of_less_than_a_line_is_valid(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, points: int, geometry: dict[str, Any] | None
) -> None:
    await gateway_app.state.storage.writer.submit(Entry(reports=(failed(NOON),)))
    await drive(gateway_app, points=points)

    response = await gateway.get(TRACK, headers=accept("application/geo+json"))

    assert response.json()["geometry"] == geometry


async def test_gpx_is_a_track_that_others_can_read(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await drive(gateway_app, points=500)

    response = await gateway.get(TRACK, headers=accept("application/gpx+xml"))

    document = gpxpy.parse(response.text)
    points = document.tracks[0].segments[0].points
    assert response.headers["content-type"] == "application/gpx+xml"
    assert response.headers["content-disposition"] == 'attachment; filename="track.gpx"'
    assert (document.version, document.tracks[0].name, len(points)) == ("1.1", IMEI, 500)
    assert (points[1].latitude, points[1].longitude, points[1].time) == (
        42.01,
        -71.26483,
        NOON + timedelta(minutes=1),
    )
    assert (points[1].comment, points[1].source) == ("accuracy 35 m", "thingspace, network")


async def test_kml_is_a_track_whose_parts_are_joined(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await drive(gateway_app, points=200)

    response = await gateway.get(TRACK, headers=accept("application/vnd.google-earth.kml+xml"))

    document = ET.fromstring(response.content)  # noqa: S314 -- our own answer
    whole = document.find(f"{KML}Document/{KML}Placemark/{GOOGLE}MultiTrack")
    assert whole is not None
    times = [one.text for one in whole.iter(f"{KML}when")]
    positions = [one.text for one in whole.iter(f"{GOOGLE}coord")]
    assert response.headers["content-type"] == "application/vnd.google-earth.kml+xml"
    assert whole.findtext(f"{GOOGLE}interpolate") == "1"
    assert (len(times), len(positions)) == (200, 200)
    assert (times[1], positions[1]) == ("2026-03-02T12:01:00Z", "-71.26483 42.01 0")


@pytest.mark.parametrize("media_type", ["application/gpx+xml", "application/vnd.google-earth.kml+xml"])
async def test_a_limit_holds_for_files(gateway: httpx.AsyncClient, gateway_app: FastAPI, media_type: str) -> None:
    await drive(gateway_app, points=5)

    response = await gateway.get(TRACK, params={"limit": "2"}, headers=accept(media_type))

    assert response.text.count("2026-03-02T12:0") == 2


async def test_a_name_that_xml_cannot_hold_makes_no_broken_file(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await drive(gateway_app, name="<pump>\x0b&")

    response = await gateway.get("/devices/%3Cpump%3E%0B&/track", headers=accept("application/gpx+xml"))

    assert gpxpy.parse(response.text).tracks[0].name == "<pump>&"


async def test_a_device_that_has_not_reported_yet_has_an_empty_track(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = lambda _: httpx.Response(200, json={"transactionID": "t-1"})
    device = {"imei": IMEI, "mdn": MDN}
    await gateway.post("/periodic", json={"account": ACCOUNT, "devices": [device], "interval": 300, "count": 2})

    by_id, by_number = await gateway.get(TRACK), await gateway.get(f"/devices/{MDN}/track")

    assert by_id.json() == by_number.json() == {"track": [], "next": None}


@pytest.mark.parametrize(
    ("identifier", "status", "code"),
    [
        ("990001999999999", 404, "NOT_FOUND"),
        ("nobody", 404, "NOT_FOUND"),
        ("%00", 404, "NOT_FOUND"),
        ("+4915112345678", 422, "UNSUPPORTED_IDENTIFIER"),
    ],
)
async def test_a_device_that_is_not_known_has_no_track(
    gateway: httpx.AsyncClient, identifier: str, status: int, code: str
) -> None:
    response = await gateway.get(f"/devices/{identifier}/track")

    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"since": "yesterday"}, "/query/since"),
        ({"limit": "0"}, "/query/limit"),
        ({"cursor": "x"}, "/query/cursor"),
        ({"order": "desc"}, "/query/order"),
    ],
)
async def test_a_wrong_parameter_is_pointed_at(gateway: httpx.AsyncClient, query: dict[str, str], pointer: str) -> None:
    response = await gateway.get(TRACK, params=query)

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_another_media_type_is_not_acceptable(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get(TRACK, headers=accept("text/csv"))

    assert response.status_code == 406
    assert "application/gpx+xml" in response.json()["detail"]


async def test_a_restricted_key_sees_the_part_of_a_track_within_its_reach(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    await drive(gateway_app, points=2)
    await drive(gateway_app, points=3, account="1111111111-00001")
    own = await make_key("reports:read", accounts=[ACCOUNT])
    foreign = await make_key("reports:read", accounts=["2222222222-00001"])

    seen = await gateway.get(TRACK, headers=own)
    unseen = await gateway.get(TRACK, headers=foreign)

    assert (len(seen.json()["track"]), unseen.status_code) == (2, 404)


async def test_reading_a_track_leaves_an_audit_row(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await drive(gateway_app)
    await gateway.get(TRACK)
    await gateway.get(TRACK, headers=accept("application/gpx+xml"))

    newest = (await gateway.get("/audit", params={"device": IMEI})).json()["entries"][:2]

    assert {row["action"] for row in newest} == {"reports.read", "reports.export"}
