"""`/devices/{identifier}/location` and `/positions` as callers see them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from app.storage.database import Database
from tests.support.reports import IMEI, MDN, NOON, failed, located, store

GEOJSON = "application/geo+json"
LATER = NOON + timedelta(hours=1)
OTHER_IMEI = "990001123456790"
OTHER_MDN = "5085550202"


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(database_url=database_url, auth="off", log_level="error"), providers=())
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        yield client


async def timestamp(client: httpx.AsyncClient, identifier: str) -> str:
    response = await client.get(f"/devices/{identifier}/location")
    text: str = response.json()["location"]["timestamp"]
    return text


@pytest.mark.parametrize("identifier", [IMEI, MDN, "pump-0417"])
async def test_the_latest_fix_counts_by_its_own_time(
    client: httpx.AsyncClient, database: Database, identifier: str
) -> None:
    names = {"imei": None, "mdn": None, "name": "pump-0417"} if identifier == "pump-0417" else {}
    await store(database, located(LATER, **names), failed(LATER + timedelta(hours=1)))

    await store(database, located(NOON, **names))

    assert await timestamp(client, identifier) == "2026-03-02T13:00:00Z"


async def test_an_imei_leads_to_a_fix_that_came_under_its_mdn_alone(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, located(LATER, imei=None))

    await store(database, located(NOON))

    assert await timestamp(client, IMEI) == "2026-03-02T13:00:00Z"


async def test_an_mdn_that_moved_on_leads_to_its_new_device(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(NOON))
    await store(database, located(LATER, mdn=OTHER_MDN))

    assert await timestamp(client, MDN) == "2026-03-02T12:00:00Z"


async def test_a_position_can_be_had_as_geojson(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located())

    response = await client.get(f"/devices/{IMEI}/location", headers={"Accept": GEOJSON})

    assert response.headers["content-type"] == GEOJSON
    assert response.json()["geometry"] == {"type": "Point", "coordinates": [-71.26483, 42.09551]}


@pytest.mark.parametrize("identifier", [OTHER_IMEI, OTHER_MDN, "nobody", "%00"])
async def test_a_device_without_a_position_is_not_found(
    client: httpx.AsyncClient, database: Database, identifier: str
) -> None:
    await store(database, located())

    response = await client.get(f"/devices/{identifier}/location")

    assert response.status_code == 404
    assert response.json()["code"] == "NOT_FOUND"


async def test_positions_hold_the_latest_fix_of_each_device(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(NOON), located(LATER), located(NOON, imei=OTHER_IMEI, mdn=OTHER_MDN))

    answer = (await client.get("/positions")).json()

    latest = {report["device"]["imei"]: report["location"]["timestamp"] for report in answer["positions"]}
    assert latest == {IMEI: "2026-03-02T13:00:00Z", OTHER_IMEI: "2026-03-02T12:00:00Z"}
    assert answer["next"] is None


async def test_following_next_reads_the_position_of_every_device_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    names = ["pump", "Pumpe \N{LATIN SMALL LETTER U WITH DIAERESIS}ber " + "\N{SNOWMAN}" * 100, "valve", "tank"]
    await store(database, *[located(imei=None, mdn=None, name=name, account=None) for name in names])
    seen = []
    parameters = {"limit": "1"}

    while True:
        response = await client.get("/positions", params=parameters)
        answer = response.json()
        seen += [report["device"]["name"] for report in answer["positions"]]
        if answer["next"] is None:
            break
        parameters["cursor"] = answer["next"]

    assert sorted(seen) == sorted(names)


async def test_a_box_finds_the_devices_in_it(client: httpx.AsyncClient, database: Database) -> None:
    await store(
        database,
        located(imei=IMEI, mdn=None, latitude=-17.7, longitude=178.0),
        located(imei=OTHER_IMEI, mdn=None, latitude=21.3, longitude=-157.8),
        located(imei="990001123456808", mdn=None, latitude=0, longitude=0),
    )

    response = await client.get("/positions", params={"bbox": "170,-90,-150,90"}, headers={"Accept": GEOJSON})

    features = response.json()["features"]
    assert {feature["properties"]["imei"] for feature in features} == {IMEI, OTHER_IMEI}


async def test_an_account_finds_its_devices_alone(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(), located(imei=OTHER_IMEI, account="other"))

    answer = (await client.get("/positions", params={"account": "other"})).json()

    assert [report["device"]["imei"] for report in answer["positions"]] == [OTHER_IMEI]


@pytest.mark.parametrize(
    ("name", "value"),
    [("cursor", "none"), ("cursor", "WzFd"), ("cursor", "WyJhIiwiXHUwMDAwIl0"), ("bbox", "x"), ("imei", IMEI)],
)
async def test_wrong_parameters_are_pointed_at(client: httpx.AsyncClient, name: str, value: str) -> None:
    response = await client.get("/positions", params={name: value})

    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [f"/query/{name}"]
