"""`GET /events/stream` over real sockets, from two gateways on one database."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from secrets import token_hex
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.events import EVERY_EVENT, EventBatch
from app.main import create_app
from app.server.fast_callbacks import CallbackProtocol
from app.storage.events import NewEvent, append
from app.storage.writer import Entry
from tests.events.stream_reader import events_of, streaming
from tests.support.gateways import AUTHORIZED, emptied, settings
from tests.support.reports import IMEI, NOON, located
from tests.support.servers import serving
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_IMEI = "990001123456790"


def client(url: str, headers: dict[str, str] = AUTHORIZED) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False)


@pytest.fixture(scope="module")
def apps(module_database_url: str) -> list[FastAPI]:
    return [create_app(settings(module_database_url)) for _ in range(2)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def urls(apps: list[FastAPI]) -> AsyncIterator[list[str]]:
    async with serving(apps[0]) as one, serving(apps[1]) as other:
        yield [one, other]


@pytest_asyncio.fixture(loop_scope="module")
async def reader(apps: list[FastAPI], urls: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the second gateway; the tests store through the first one."""
    await emptied(apps[0])
    async with client(urls[1]) as reader:
        yield reader


async def store(app: FastAPI, *rows: Any) -> None:
    await app.state.storage.writer.submit(Entry(reports=rows))


async def test_a_stream_begins_with_what_comes_next_from_any_replica(
    reader: httpx.AsyncClient, apps: list[FastAPI]
) -> None:
    await store(apps[0], located())

    async with streaming(reader) as blocks:
        first = await anext(blocks)
        await store(apps[0], located(NOON + timedelta(minutes=1)))
        ((cursor, event),) = await events_of(blocks, 1)

    assert set(first) == {"id"}
    assert event["data"]["location"]["timestamp"] == "2026-03-02T12:01:00Z"
    assert (await reader.get("/events", params={"after": cursor})).json()["events"] == []


@pytest.mark.parametrize("place", [{"last_event_id": None, "after": "earliest"}, {"after": None}])
async def test_a_stream_goes_on_behind_any_of_its_events(
    reader: httpx.AsyncClient, apps: list[FastAPI], place: dict[str, str | None]
) -> None:
    await store(apps[0], *(located(NOON + timedelta(minutes=number)) for number in range(6)))
    async with streaming(reader, after="earliest") as blocks:
        first = await events_of(blocks, 2)

    async with streaming(reader, **{name: value or first[-1][0] for name, value in place.items()}) as blocks:
        rest = await events_of(blocks, 4)

    assert len({event["id"] for _, event in [*first, *rest]}) == 6


async def test_a_stream_gives_the_cloud_events_of_the_pages(reader: httpx.AsyncClient, apps: list[FastAPI]) -> None:
    async with streaming(reader) as blocks:
        await anext(blocks)
        await store(apps[0], located())
        ((_, streamed),) = await events_of(blocks, 1)

    assert (await reader.get("/events")).json()["events"] == [streamed]


async def test_a_filter_holds_for_what_was_and_for_what_comes(reader: httpx.AsyncClient, apps: list[FastAPI]) -> None:
    await store(apps[0], located(), located(imei=OTHER_IMEI))

    async with streaming(reader, after="earliest", imei=OTHER_IMEI) as blocks:
        before = await events_of(blocks, 1)
        await store(apps[0], located(NOON + timedelta(minutes=1)))
        await store(apps[0], located(NOON + timedelta(minutes=1), imei=OTHER_IMEI))
        after = await events_of(blocks, 1)

    assert [event["subject"] for _, event in before + after] == [f"device/{OTHER_IMEI}"] * 2


async def test_a_reader_that_does_not_read_is_let_go(module_database_url: str) -> None:
    app = create_app(settings(module_database_url))
    protocol = partial(CallbackProtocol, write_timeout_s=0.3)
    frames = b"data: {}\n\n" * 10_000
    async with serving(app, http=protocol, proxy_headers=False) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as stuck:
            head = (
                f"GET /events/stream HTTP/1.1\r\nHost: gateway\r\nAuthorization: {AUTHORIZED['Authorization']}\r\n\r\n"
            )
            stuck.sendall(head.encode())
            hub = app.state.gateway.event_hub
            await until(lambda: hub._feeds)
            await hub.begun()
            async with asyncio.timeout(20):
                while hub._feeds:
                    for feed in list(hub._feeds):
                        feed.offer(EventBatch(end=hub._cursor, made={EVERY_EVENT: (frames, 10_000)}))
                    await asyncio.sleep(0.01)


async def test_asking_for_the_head_of_a_stream_ends(reader: httpx.AsyncClient) -> None:
    response = await reader.head("/events/stream")

    assert (response.status_code, response.content) == (200, b"")


async def test_a_revoked_key_ends_its_streams(reader: httpx.AsyncClient, urls: list[str]) -> None:
    made = (await reader.post("/keys", json={"name": "a test's", "scopes": ["reports:read"]})).json()
    mine = client(urls[0], {"Authorization": f"Bearer {made['key']}"})
    async with mine, streaming(mine) as blocks:
        await anext(blocks)
        await reader.delete(f"/keys/{made['id']}")
        async with asyncio.timeout(4):
            rest = [block async for block in blocks]

    assert rest == []


async def test_a_stream_leaves_audit_rows_when_it_begins_and_ends(
    reader: httpx.AsyncClient, apps: list[FastAPI]
) -> None:
    async with streaming(reader, imei=IMEI) as blocks:
        await anext(blocks)
        await store(apps[0], located())
        await events_of(blocks, 1)

    rows: list[Any] = []
    async with asyncio.timeout(5):
        while not rows or rows[0]["outcome"] != "shown":
            rows = (await reader.get("/audit", params={"action": "events.stream", "limit": 2})).json()["entries"]
    assert [(row["outcome"], row["subject"]) for row in rows] == [("shown", "1 events"), ("accepted", "begins")]


async def test_a_key_may_follow_only_so_many_streams(module_database_url: str) -> None:
    app = create_app(settings(module_database_url))
    async with serving(app) as url, client(url) as reader:
        app.state.gateway.event_streams._per_key = 1
        async with streaming(reader) as blocks:
            await anext(blocks)
            refused = await reader.get("/events/stream")

    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")


async def test_streams_and_waiting_requests_end_when_the_process_stops(module_database_url: str) -> None:
    app = create_app(settings(module_database_url))
    async with serving(app) as url, client(url) as reader, streaming(reader) as blocks:
        await anext(blocks)
        waiting = asyncio.create_task(reader.get("/events", params={"after": "latest", "wait": 30}))
        await asyncio.sleep(0.2)
        app.end_streams()
        async with asyncio.timeout(3):
            rest = [block async for block in blocks]
            page = await waiting

    assert [set(block) for block in rest] == [{"retry"}]
    assert page.json()["events"] == []


async def write(apps: list[FastAPI], rows: Sequence[Any]) -> None:
    """Store rows one by one, with eight writers."""

    async def work(part: int) -> None:
        for row in rows[part::8]:
            await store(apps[part % 2], row)

    await asyncio.gather(*map(work, range(8)))


async def hold_transactions(app: FastAPI) -> None:
    """Keep transactions open that have written, so that what begins later commits earlier."""
    for _ in range(4):
        async with app.state.storage.database.transaction() as db:
            await db.execute(text("INSERT INTO undated_reports VALUES (gen_random_uuid(), now())"))
            event = NewEvent(type="listener.lost", subject="listener/a", at=NOON, data={}, key=token_hex(4))
            await append(db, [event])
            await asyncio.sleep(0.1)


async def poll(url: str, count: int) -> list[str]:
    """Read so many events in pages."""
    seen: list[str] = []
    cursor = "earliest"
    async with client(url) as polling:
        while len(seen) < count:
            page = (await polling.get("/events", params={"after": cursor, "limit": 37, "wait": 5})).json()
            seen += [event["id"] for event in page["events"]]
            cursor = page["next"]
    return seen


async def follow(urls: list[str], number: int, count: int) -> list[str]:
    """Read so many events in streams, each of which is broken off after a while."""
    seen: list[str] = []
    cursor = "earliest"
    while len(seen) < count:
        async with client(urls[number % 2]) as following, streaming(following, last_event_id=cursor) as blocks:
            events = await events_of(blocks, min(count - len(seen), 11 + 13 * number))
        seen += [event["id"] for _, event in events]
        cursor = events[-1][0]
        number += 1
    return seen


async def test_readers_that_come_and_go_see_everything_once(
    reader: httpx.AsyncClient, apps: list[FastAPI], urls: list[str]
) -> None:
    rows = [located(NOON + timedelta(seconds=number), imei=f"99000112{number:07}") for number in range(400)]
    count = len(rows) + 8

    async with asyncio.timeout(40):
        readings = await asyncio.gather(
            *(poll(url, count) for url in urls),
            *(follow(urls, number, count) for number in range(4)),
            *(hold_transactions(app) for app in apps),
            write(apps, rows),
        )

    for seen in filter(None, readings):
        assert len(seen) == len(set(seen)) == count
