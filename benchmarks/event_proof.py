"""Whether readers of events that come and go see everything once, while writers and long transactions go on."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import asyncpg
import httpx

from app.storage.urls import to_dsn
from benchmarks.load import DEVICE, DIGITS, TIME, Target
from benchmarks.servers import API_KEY

_WRITERS = 8
_POLLING = 4
_STREAMING = 8
_AUTHORIZED = {"Authorization": f"Bearer {API_KEY}"}


async def misread(urls: Sequence[str], targets: Sequence[Target], database: str, callbacks: int) -> tuple[int, int]:
    """Send callbacks to several gateways of one database; count the events that a reader missed, and got twice."""
    done = asyncio.Event()
    start = {url: await _latest(url) for url in urls}
    readers = [asyncio.create_task(_poll(urls[n % len(urls)], start, done)) for n in range(_POLLING)]
    readers += [asyncio.create_task(_stream(urls, n, start, done)) for n in range(_STREAMING)]
    holding = asyncio.create_task(_hold_transactions(database, done))
    numbers = iter(range(callbacks))
    await asyncio.gather(*(_write(targets[n % len(targets)], numbers) for n in range(_WRITERS)))
    await asyncio.sleep(1)
    done.set()
    await holding
    stored = await _all_after(urls[0], start[urls[0]])
    of_callbacks = await _all_after(urls[0], start[urls[0]], types="location.*")
    seen = [Counter(await reader) for reader in readers]
    missed = sum(event not in reader for reader in seen for event in stored)
    return missed + callbacks - len(of_callbacks), sum(count - 1 for reader in seen for count in reader.values())


async def _write(target: Target, numbers: Iterator[int]) -> None:
    async with _client() as http:
        for number in numbers:
            body = target.body.replace(DIGITS, f"{number:06d}").replace(DEVICE, f"{number * 7 % 10_000:04d}")
            body = body.replace(TIME, "20260302120000")
            (await http.post(target.url, content=body, headers=target.headers)).raise_for_status()


async def _hold_transactions(database: str, done: asyncio.Event) -> None:
    """Keep transactions open that have written something."""
    connections = [await asyncpg.connect(to_dsn(database)) for _ in range(3)]
    while not done.is_set():
        for connection in connections:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO undated_reports VALUES (gen_random_uuid(), now())")
        await asyncio.sleep(0.7)
        for connection in connections:
            await connection.execute("COMMIT")
    for connection in connections:
        await connection.close()


def _client() -> httpx.AsyncClient:
    # Nothing is encrypted here, and to prepare for it takes longer than all the rest.
    return httpx.AsyncClient(headers=_AUTHORIZED, timeout=60, verify=False, trust_env=False)


async def _latest(url: str) -> str:
    return str((await _page(url, "latest"))["next"])


async def _page(url: str, after: str, **parameters: int | str) -> "dict[str, list[dict[str, str]]]":
    async with _client() as http:
        answer = await http.get(f"{url}/events", params={"after": after, **parameters})
    page: dict[str, list[dict[str, str]]] = answer.raise_for_status().json()
    return page


async def _all_after(url: str, cursor: str, **filters: str) -> list[str]:
    seen: list[str] = []
    while (page := await _page(url, cursor, limit=1000, **filters))["events"]:
        seen += [event["id"] for event in page["events"]]
        cursor = str(page["next"])
    return seen


async def _poll(url: str, start: dict[str, str], done: asyncio.Event) -> list[str]:
    cursor, seen = start[url], list[str]()
    while not done.is_set():
        page = await _page(url, cursor, limit=random.randint(1, 200), wait=1)
        seen += [event["id"] for event in page["events"]]
        cursor = str(page["next"])
    return seen + await _all_after(url, cursor)


async def _stream(urls: Sequence[str], number: int, start: dict[str, str], done: asyncio.Event) -> list[str]:
    """Follow streams, each of another gateway and for a random while; what has not arrived whole does not count."""
    cursor, seen = start[urls[0]], list[str]()
    while not done.is_set():
        number += 1
        with suppress(TimeoutError, httpx.HTTPError):
            async with (
                asyncio.timeout(random.uniform(0.1, 1.5)),
                _client() as http,
                http.stream(
                    "GET", f"{urls[number % len(urls)]}/events/stream", headers={"Last-Event-ID": cursor}
                ) as answer,
            ):
                place = cursor
                async for line in answer.aiter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        place = value
                    elif name == "data":
                        seen.append(json.loads(value)["id"])
                        cursor = place
    return seen + await _all_after(urls[0], cursor)
