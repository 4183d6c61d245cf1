"""Reports as GeoParquet."""

import io
import struct
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from app.api.report_formats import FORMATS, chosen
from app.api.report_rendering import FLAT_MEMBERS
from app.errors import NotAcceptable
from app.storage.writer import Entry
from tests.support.reports import IMEI, NOON, failed, generate, located

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARQUET = "application/vnd.apache.parquet"


async def store(app: FastAPI, *rows: Any) -> None:
    await app.state.storage.writer.submit(Entry(reports=rows))


async def exported(client: httpx.AsyncClient, **params: str) -> pq.ParquetFile:
    response = await client.get("/reports", params=params, headers={"Accept": PARQUET})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == PARQUET
    assert response.headers["content-disposition"] == 'attachment; filename="reports.parquet"'
    return pq.ParquetFile(io.BytesIO(response.content))


def geo(file: pq.ParquetFile) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads(file.metadata.metadata[b"geo"])
    return told


async def test_columns_are_those_of_csv_with_types_and_a_geometry(
    gateway: httpx.AsyncClient, gateway_app: FastAPI
) -> None:
    await store(gateway_app, located(NOON, name="pump", flags=("late",)))

    table = (await exported(gateway)).read()

    (row,) = table.to_pylist()
    assert table.column_names == [*FLAT_MEMBERS, "geometry"]
    assert table.schema.field("receivedAt").type == pa.timestamp("us", "UTC")
    assert (row["timestamp"], row["receivedAt"]) == (NOON, NOON + timedelta(seconds=2, milliseconds=412))
    assert (row["imei"], row["name"], row["flags"], row["cached"]) == (IMEI, "pump", ["late"], False)
    assert struct.unpack("<BIdd", row["geometry"]) == (1, 1, -71.26483, 42.09551)


async def test_the_file_says_what_its_geometry_is_and_where(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    later = NOON + timedelta(minutes=1)
    await store(gateway_app, located(NOON), located(later, latitude=-33.5, longitude=151.25), failed(NOON))

    told = geo(await exported(gateway))

    geometry = {"encoding": "WKB", "geometry_types": ["Point"], "bbox": [-71.26483, -33.5, 151.25, 42.09551]}
    assert told == {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}


async def test_a_report_without_a_fix_has_no_geometry(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, failed(NOON))

    file = await exported(gateway)

    (row,) = file.read().to_pylist()
    assert (row["status"], row["geometry"], row["timestamp"]) == ("failed", None, None)
    assert (row["errorType"], row["errorTimestamp"]) == ("POSITION METHOD FAILURE", NOON)
    assert geo(file)["columns"]["geometry"] == {"encoding": "WKB", "geometry_types": []}


async def test_nothing_is_a_file_without_rows(gateway: httpx.AsyncClient) -> None:
    file = await exported(gateway)

    assert (file.metadata.num_rows, geo(file)["version"]) == (0, "1.1.0")


async def test_everything_that_matches_comes_in_row_groups(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await generate(gateway_app.state.storage.database, 10_500)

    file = await exported(gateway, order="asc")

    times = file.read(["timestamp"]).column("timestamp").to_pylist()
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (10_500, 2)
    assert times == sorted(times)


async def test_filters_and_the_limit_hold(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    await store(gateway_app, *(located(NOON + timedelta(minutes=minute)) for minute in range(5)), failed(NOON))

    file = await exported(gateway, status="located", limit="2", since="2026-03-02T12:01:00Z", order="asc")

    times = file.read(["timestamp"]).column("timestamp").to_pylist()
    assert times == [NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)]


async def test_who_asks_for_what_is_not_installed_learns_how_to_install_it() -> None:
    installed = {name: to for name, to in FORMATS.items() if name != PARQUET}

    with pytest.raises(NotAcceptable, match=r"pip install 'location-gateway\[parquet\]'"):
        chosen(PARQUET, installed)

    assert chosen(f"{PARQUET}, text/csv;q=0.5", installed) == "text/csv"


async def test_who_asks_for_something_else_does_not() -> None:
    with pytest.raises(NotAcceptable) as raised:
        chosen("image/png")

    assert "pip" not in str(raised.value)
