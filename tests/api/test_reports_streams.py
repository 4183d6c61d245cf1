"""Exports as CSV and NDJSON."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any, Self

import httpx
import pytest

from app.api.report_streams import MOST_STREAMS, MOST_STREAMS_PER_KEY
from app.main import create_app
from app.settings import Settings
from app.storage.database import Database
from tests.support.reports import failed, generate, located, store
from tests.support.servers import serving

CSV = {"Accept": "text/csv"}
NDJSON = {"Accept": "application/x-ndjson"}
OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%reports%' AND pid <> pg_backend_pid()
"""


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Any]:
    app = create_app(Settings(database_url=database_url, auth="off", log_level="error"), providers=())
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        yield client


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(("accept", "lines"), [(NDJSON, 10), (CSV, 11)])
async def test_a_stream_ends_at_the_limit_and_goes_on_at_the_cursor(
    client: httpx.AsyncClient, database: Database, accept: dict[str, str], lines: int
) -> None:
    await generate(database, 25)
    ids = [report["id"] for report in (await client.get("/reports")).json()["reports"]]

    first = await client.get("/reports", params={"limit": "10"}, headers=accept)
    second = await client.get("/reports", params={"limit": "10", "cursor": ids[9]}, headers=accept)

    assert (len(first.text.splitlines()), len(second.text.splitlines())) == (lines, lines)
    assert all(one in first.text for one in ids[:10])
    assert all(one in second.text for one in ids[10:20])


async def test_a_stream_may_begin_with_the_oldest(client: httpx.AsyncClient, database: Database) -> None:
    await generate(database, 25)

    response = await client.get("/reports", params={"order": "asc"}, headers=NDJSON)

    timestamps = [json.loads(line)["location"]["timestamp"] for line in response.text.splitlines()]
    assert timestamps == sorted(timestamps)
    assert len(timestamps) == 25


@pytest.mark.parametrize("accept", [NDJSON, CSV, {"Accept": "application/json"}])
async def test_long_answers_are_compressed_for_those_who_take_it(
    client: httpx.AsyncClient, database: Database, accept: dict[str, str]
) -> None:
    await generate(database, 400)

    sent = [
        await client.get("/reports", params={"limit": "400"}, headers=accept | {"Accept-Encoding": encoding})
        for encoding in ("gzip", "identity", "gzip;q=0, br")
    ]

    assert [one.headers.get("content-encoding") for one in sent] == ["gzip", None, None]
    assert {one.headers["vary"] for one in sent} == {"Accept, Accept-Encoding"}
    assert len({one.content for one in sent}) == 1


async def test_ndjson_holds_everything_where_no_limit_is_given(client: httpx.AsyncClient, database: Database) -> None:
    await generate(database, 2345)

    response = await client.get("/reports", headers=NDJSON)

    lines = [json.loads(line) for line in response.text.splitlines()]
    timestamps = [line["location"]["timestamp"] for line in lines]
    assert len({line["id"] for line in lines}) == 2345
    assert timestamps == sorted(timestamps, reverse=True)


async def test_a_line_of_ndjson_is_a_report_as_in_json(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(), failed())

    lines = [json.loads(line) for line in (await client.get("/reports", headers=NDJSON)).text.splitlines()]

    assert lines == (await client.get("/reports")).json()["reports"]


async def test_csv_has_a_header_and_a_row_for_each_report(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located(flags=("late", "odd")), failed())

    response = await client.get("/reports", params={"status": "located"}, headers=CSV)

    row = rows_of(response.text)[0]
    assert response.headers["content-disposition"] == 'attachment; filename="reports.csv"'
    assert response.text.count("\r\n") == 2
    assert (row["latitude"], row["longitude"], row["cached"], row["flags"]) == (
        "42.09551",
        "-71.26483",
        "false",
        "late odd",
    )
    assert (row["timestamp"], row["errorType"]) == ("2026-03-02T12:00:00Z", "")


async def test_csv_of_nothing_is_its_header(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports", headers=CSV)

    assert response.text.startswith("id,transactionId,sessionId,account,imei,")
    assert response.text.count("\r\n") == 1


async def test_ndjson_of_nothing_is_empty(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports", headers=NDJSON)

    assert (response.status_code, response.content) == (200, b"")


async def test_commas_quotes_and_line_breaks_survive_csv(client: httpx.AsyncClient, database: Database) -> None:
    info = 'said "no",\nthen\r\nnothing'
    await store(database, failed(info=info))

    response = await client.get("/reports", headers=CSV)

    assert rows_of(response.text)[0]["errorInfo"] == info


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\t=1"])
async def test_a_name_cannot_become_a_formula(client: httpx.AsyncClient, database: Database, name: str) -> None:
    await store(database, located(name=name))

    response = await client.get("/reports", headers=CSV)

    assert rows_of(response.text)[0]["name"] == f"'{name}"


async def test_a_key_runs_only_so_many_exports_at_a_time(app: Any, client: httpx.AsyncClient) -> None:
    streams = app.state.gateway.streams
    with ExitStack() as taken:
        for _ in range(MOST_STREAMS_PER_KEY):
            taken.enter_context(streams.slot("anyone"))
        refused = await client.get("/reports", headers=CSV)
    answered = await client.get("/reports", headers=CSV)

    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert int(refused.headers["retry-after"]) > 0
    assert answered.status_code == 200


async def test_the_exports_of_one_key_leave_room_for_those_of_others(app: Any, client: httpx.AsyncClient) -> None:
    with ExitStack() as taken:
        for _ in range(MOST_STREAMS_PER_KEY):
            taken.enter_context(app.state.gateway.streams.slot("another key"))
        response = await client.get("/reports", headers=CSV)

    assert response.status_code == 200


async def test_more_exports_than_there_is_room_for_are_sent_away(app: Any, client: httpx.AsyncClient) -> None:
    with ExitStack() as taken:
        for number in range(MOST_STREAMS):
            taken.enter_context(app.state.gateway.streams.slot(f"key {number}"))
        response = await client.get("/reports", headers=CSV)

    assert (response.status_code, response.json()["code"]) == (503, "UNAVAILABLE")
    assert int(response.headers["retry-after"]) > 0


async def test_a_stream_makes_room_when_it_has_ended(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, located())

    statuses = [(await client.get("/reports", headers=CSV)).status_code for _ in range(MOST_STREAMS_PER_KEY + 1)]

    assert set(statuses) == {200}


async def test_a_stream_begins_before_everything_is_read(app: Any, database: Database) -> None:
    await generate(database, 20_000)

    async with Exchange(app) as exchange:
        first = await exchange.received()

        assert 0 < first.count(b"\n") < 1000


async def test_a_client_that_goes_away_leaves_nothing_behind(app: Any, database: Database) -> None:
    await generate(database, 20_000)
    connection = await database.connect()

    async with Exchange(app) as exchange:
        await exchange.received()
        exchange.hang_up()
        await exchange.ended()

    async with asyncio.timeout(10):
        while await connection.fetchval(f"SELECT count(*) {OTHERS} AND state <> 'idle'"):  # noqa: ASYNC110 -- the server does not tell us
            await asyncio.sleep(0.01)
    await connection.close()
    with ExitStack() as taken:
        for _ in range(MOST_STREAMS_PER_KEY):
            taken.enter_context(app.state.gateway.streams.slot("anyone"))


async def test_a_failure_in_the_middle_breaks_the_connection(database_url: str, database: Database) -> None:
    await generate(database, 20_000)
    connection = await database.connect()
    app = create_app(Settings(database_url=database_url, auth="off", log_level="error"), providers=())

    async with (
        serving(app) as url,
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", f"{url}/reports", headers=NDJSON) as response,
    ):
        chunks = response.aiter_raw()
        await anext(chunks)
        await connection.fetchval(f"SELECT count(pg_terminate_backend(pid)) {OTHERS}")
        with pytest.raises(httpx.RemoteProtocolError):
            async for _ in chunks:
                pass
    await connection.close()


class Exchange:
    """A request for all reports whose client takes one chunk at a time."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = asyncio.Semaphore(0)
        self._gone = asyncio.Event()

    async def __aenter__(self) -> Self:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/reports",
            "raw_path": b"/reports",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"accept", b"application/x-ndjson")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._task = asyncio.create_task(self._app(scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()
        await self.ended()

    async def received(self) -> bytes:
        """Take the next chunk."""
        self._room.release()
        return await self._chunks.get()

    def hang_up(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def ended(self) -> None:
        """Wait until the application has noticed."""
        await asyncio.wait([self._task], timeout=10)
        assert self._task.done()

    async def _receive(self) -> dict[str, str]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await self._room.acquire()
            self._chunks.put_nowait(message["body"])
