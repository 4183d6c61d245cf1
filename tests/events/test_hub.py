"""What one reading of the log passes on to many readers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.events import Announcer, EventHub
from app.events.event import EventBatch
from app.events.hub import Feed
from app.storage.database import Database
from app.storage.events import ORIGIN, read
from tests.support.reports import NOON, located, store


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[EventHub]:
    async with EventHub(database, lambda _: b"{}", Announcer(database)).running() as hub:
        yield hub


async def test_a_reader_that_is_too_slow_loses_its_feed_and_no_more(database: Database) -> None:
    feed, batch = Feed(), EventBatch(end=ORIGIN)
    taken = 0
    while not feed.is_lost:
        feed.offer(batch)
        taken += 1

    assert taken > 100
    assert await feed.next() is None


async def test_readers_share_what_is_passed_on(hub: EventHub, database: Database) -> None:
    with hub.feed() as one, hub.feed() as other:
        await hub.begun()
        await store(database, located())
        hub.announce()
        batches = [await first_with_events(feed) for feed in (one, other)]

    assert batches[0] is batches[1]
    assert [event.stored.what.id.hex for event in batches[0].events] == [located().id]


async def test_the_end_of_a_batch_is_where_the_log_goes_on(hub: EventHub, database: Database) -> None:
    with hub.feed() as feed:
        await hub.begun()
        await store(database, located())
        hub.announce()
        batch = await first_with_events(feed)
    await store(database, located(NOON.replace(hour=13)))

    assert batch.end is not None
    assert len((await read(database, batch.end)).events) == 1


async def test_a_feed_ends_with_the_hub(hub: EventHub) -> None:
    with hub.feed() as feed:
        waiting = asyncio.create_task(feed.next())
        await asyncio.sleep(0)
        hub.stop()

        while await asyncio.wait_for(waiting, 2) is not None:
            waiting = asyncio.create_task(feed.next())

    with hub.feed() as later:
        assert await later.next() is None


async def first_with_events(feed: Feed) -> EventBatch:
    async with asyncio.timeout(5):
        while True:
            batch = await feed.next()
            assert batch is not None
            if batch.events:
                return batch
