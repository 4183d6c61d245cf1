"""`/reports` and `/reports/{id}` as callers see them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from starlette.types import ASGIApp

from app.ids import new_id
from app.main import create_app
from app.settings import Settings
from app.storage.database import Database
from app.storage.rows import NewCallback
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located, minutes, store

GEOJSON = "application/geo+json"


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[ASGIApp]:
    app = create_app(Settings(database_url=database_url, auth="off", log_level="error"), providers=())
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


async def test_a_located_report_is_written_as_the_contract_says(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located())

    answer = (await client.get("/reports")).json()

    report = answer["reports"][0]
    assert len(report.pop("id")) == 26
    assert answer["next"] is None
    assert report == {
        "transactionId": "t-1",
        "sessionId": None,
        "account": ACCOUNT,
        "device": {"imei": IMEI, "mdn": MDN},
        "type": "location",
        "status": "located",
        "location": {
            "latitude": 42.09551,
            "longitude": -71.26483,
            "accuracy": 35.0,
            "confidence": None,
            "timestamp": "2026-03-02T12:00:00Z",
            "source": "network",
            "provider": "thingspace",
            "cached": False,
        },
        "error": None,
        "provider": "thingspace",
        "reportedAs": None,
        "qosMet": None,
        "flags": [],
        "receivedAt": "2026-03-02T12:00:02.412Z",
    }


async def test_a_failed_report_has_an_error_and_no_location(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, failed())

    report = (await client.get("/reports")).json()["reports"][0]

    assert report["location"] is None
    assert report["error"] == {
        "type": "POSITION METHOD FAILURE",
        "info": "absent",
        "timestamp": "2026-03-02T12:00:00Z",
    }


async def test_a_device_known_by_its_mdn_alone_has_no_other_identifier(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, located(imei=None))

    report = (await client.get("/reports")).json()["reports"][0]

    assert report["device"] == {"mdn": MDN}


async def test_following_next_reads_every_report_once(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, *[located(at) for at in minutes(5)])
    timestamps = []
    parameters = {"limit": "2"}

    while True:
        answer = (await client.get("/reports", params=parameters)).json()
        timestamps += [report["location"]["timestamp"] for report in answer["reports"]]
        if answer["next"] is None:
            break
        parameters["cursor"] = answer["next"]

    assert timestamps == [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in minutes(5)]


async def test_the_oldest_come_first_when_asked_for(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, *[located(at) for at in minutes(5)])
    parameters = {"limit": "2", "order": "asc"}
    timestamps = []

    while True:
        answer = (await client.get("/reports", params=parameters)).json()
        timestamps += [report["location"]["timestamp"] for report in answer["reports"]]
        if answer["next"] is None:
            break
        parameters["cursor"] = answer["next"]

    assert timestamps == [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in sorted(minutes(5))]


async def test_white_space_around_a_transaction_id_does_not_matter(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, located(), located(transaction="t-2"))

    answer = (await client.get("/reports", params={"transactionId": " t-2\n"})).json()

    assert [report["transactionId"] for report in answer["reports"]] == ["t-2"]


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"imei": IMEI}, 2),
        ({"mdn": MDN}, 2),
        ({"imei": "990001123456790"}, 0),
        ({"status": "failed"}, 1),
        ({"type": "location", "account": ACCOUNT}, 2),
        ({"bbox": "-72,42,-71,43"}, 1),
        ({"bbox": "10,42,-170,43"}, 0),
        ({"since": "2026-03-02T13:00:00+01:00", "until": "2026-03-02T12:00:01Z"}, 2),
        ({"until": "2026-03-02T12:00:00Z"}, 0),
        ({"receivedSince": "2026-03-02T12:00:02.1Z"}, 1),
        ({"receivedUntil": "2026-03-02T12:00:02.1Z"}, 1),
        ({"receivedSince": "2026-03-02T12:00:03Z"}, 0),
        ({"name": "pump-0417"}, 1),
        ({"name": "pump"}, 0),
        ({"flag": "odd"}, 1),
        ({"flag": "late"}, 0),
    ],
)
async def test_filters_narrow_the_list_down(
    client: httpx.AsyncClient, database: Database, parameters: dict[str, str], count: int
) -> None:
    await store(database, located(name="pump-0417", flags=("odd",)), failed())

    answer = (await client.get("/reports", params=parameters)).json()

    assert len(answer["reports"]) == count


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "many"),
        ("cursor", "no-cursor"),
        ("cursor", ""),
        ("cursor", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
        ("bbox", "1,2,3"),
        ("bbox", "1,2,3,north"),
        ("bbox", "1,2,3,nan"),
        ("bbox", "-181,0,0,0"),
        ("bbox", "0,-91,0,0"),
        ("bbox", "0,10,10,0"),
        ("type", "event"),
        ("status", "lost"),
        ("since", "2026-03-02T12:00:00"),
        ("since", "yesterday"),
        ("since", "2026"),
        ("since", "20260302"),
        ("since", "17723664"),
        ("since", ""),
        ("until", "2026-03-02"),
        ("receivedSince", "2026"),
        ("receivedUntil", "noon"),
        ("order", "newest"),
        ("flag", "Not a flag"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("imei", "12345"),
        ("mdn", "508555010"),
        ("meid", "nothing"),
        ("sessionId", "session"),
        ("transactionId", "a\0b"),
        ("account", "a\0b"),
        ("device", IMEI),
    ],
)
async def test_wrong_parameters_are_pointed_at(client: httpx.AsyncClient, name: str, value: str) -> None:
    response = await client.get("/reports", params={name: value})

    assert response.status_code == 422
    assert response.json()["code"] == "INVALID_ARGUMENT"
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/query/{name}"]


async def test_a_filter_that_is_given_twice_is_not_overruled_unnoticed(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports?mdn=5085550101&limit=5&mdn=5085550102")

    assert response.status_code == 422
    assert [(error["pointer"], error["code"]) for error in response.json()["errors"]] == [("/query/mdn", "CONFLICT")]


async def test_an_offset_whose_plus_sign_was_not_escaped_is_understood(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, located())

    answer = (await client.get("/reports?since=2026-03-02T13:00:00+01:00&until=2026-03-02T12:00:01Z")).json()

    assert len(answer["reports"]) == 1


@pytest.mark.parametrize(
    "noon",
    ["2026-03-02T12:00:00Z", "2026-03-02 12:00:00 +0000 UTC", "1772452800", "1772452800000", "20260302T120000Z"],
)
async def test_an_instant_is_read_however_it_is_written(
    client: httpx.AsyncClient, database: Database, noon: str
) -> None:
    await store(database, located())

    since = (await client.get("/reports", params={"since": noon})).json()["reports"]
    until = (await client.get("/reports", params={"until": noon})).json()["reports"]

    assert (len(since), len(until)) == (1, 0)


async def test_a_refused_instant_shows_how_one_is_written(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/reports", params={"since": "2026"})).json()

    assert "2026-03-02T08:14:55Z" in problem["errors"][0]["detail"]


async def test_two_identifiers_at_once_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports", params={"imei": IMEI, "meid": "A1000009D8D2B1"})

    assert response.status_code == 422


async def test_geojson_has_a_feature_for_each_report(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(), failed(NOON - timedelta(hours=1)))

    response = await client.get("/reports", headers={"Accept": GEOJSON})

    collection = response.json()
    with_fix, without_fix = collection["features"]
    assert response.headers["content-type"] == GEOJSON
    assert (collection["type"], collection["next"]) == ("FeatureCollection", None)
    assert with_fix["geometry"] == {"type": "Point", "coordinates": [-71.26483, 42.09551]}
    assert with_fix["properties"]["imei"] == IMEI
    assert without_fix["geometry"] is None
    assert without_fix["properties"]["errorInfo"] == "absent"
    assert all(not isinstance(value, dict) for value in with_fix["properties"].values())


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/json"),
        ("application/json;q=0.5, application/geo+json", GEOJSON),
        ("application/json;q=0, */*;q=0.1", GEOJSON),
        ("text/csv", "text/csv; charset=utf-8; header=present"),
        ("TEXT/CSV;q=1.0", "text/csv; charset=utf-8; header=present"),
        ("text/csv, application/json;q=0.9", "text/csv; charset=utf-8; header=present"),
        ("application/x-ndjson", "application/x-ndjson"),
    ],
)
async def test_the_preferred_media_type_is_served(client: httpx.AsyncClient, accept: str, media_type: str) -> None:
    response = await client.get("/reports", headers={"Accept": accept})

    assert response.headers["content-type"] == media_type
    assert "Accept" in response.headers["vary"].split(", ")


@pytest.mark.parametrize("path", ["/reports", "/reports/01HY3J6Q48J8Q2R4ZC1V7N5T9B", "/positions"])
async def test_what_nobody_can_serve_is_not_acceptable(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path, headers={"Accept": "image/png, application/json;q=0"})

    assert response.status_code == 406
    assert response.json()["code"] == "NOT_ACCEPTABLE"


async def test_a_report_is_found_by_its_id_with_its_raw_callback(client: httpx.AsyncClient, database: Database) -> None:
    callback_id = new_id(NOON)
    callback = NewCallback(
        id=callback_id.hex,
        received_at=NOON,
        provider="thingspace",
        service="DeviceLocation",
        state="stored",
        signature="unchecked",
    )
    await store(database, located(callback_id=callback_id.hex), callback=callback, body=b'{"raw": 1}')
    listed = (await client.get("/reports")).json()["reports"][0]

    report = (await client.get(f"/reports/{listed['id']}")).json()

    assert report["callback"] == {"id": str(callback_id), "receivedAt": "2026-03-02T12:00:00Z", "body": '{"raw": 1}'}
    assert {name: report[name] for name in listed} == listed


async def test_a_report_of_a_provider_that_was_asked_has_its_answer(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, located(raw='{"lat": 1}'))
    listed = (await client.get("/reports")).json()["reports"][0]

    report = (await client.get(f"/reports/{listed['id'].lower()}")).json()

    assert (report["callback"], report["raw"]) == (None, '{"lat": 1}')


@pytest.mark.parametrize("report_id", ["01HY3J6Q48J8Q2R4ZC1V7N5T9B", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "none", "%00"])
async def test_an_unknown_report_is_not_found(client: httpx.AsyncClient, report_id: str) -> None:
    response = await client.get(f"/reports/{report_id}")

    assert response.status_code == 404
    assert response.json()["code"] == "NOT_FOUND"
