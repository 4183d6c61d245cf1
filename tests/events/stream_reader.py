"""Readers of events, written from the standards alone: server-sent events, and pages with their cursor."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

Json = dict[str, Any]


@asynccontextmanager
async def streaming(client: httpx.AsyncClient, **parameters: Any) -> AsyncIterator[AsyncIterator[Json]]:
    """Follow a stream; gives blocks with `id`, `event`, `data`, `retry` and `comment` as far as they have them."""
    headers = {"Accept": "text/event-stream"}
    if "last_event_id" in parameters:
        headers["Last-Event-ID"] = parameters.pop("last_event_id")
    async with client.stream("GET", "/events/stream", params=parameters, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield blocks(response)


async def blocks(response: httpx.Response) -> AsyncIterator[Json]:
    block: Json = {}
    async for line in response.aiter_lines():
        if not line:
            if block:
                yield block
            block = {}
            continue
        name, _, value = line.partition(":")
        block[name or "comment"] = value.removeprefix(" ")


async def events_of(blocks: AsyncIterator[Json], count: int) -> list[tuple[str, Json]]:
    """Read so many events, each with its cursor."""
    found: list[tuple[str, Json]] = []
    async for block in blocks:
        if "data" in block:
            event = json.loads(block["data"])
            assert event["type"] == block["event"]
            found.append((block["id"], event))
        if len(found) == count:
            break
    return found
