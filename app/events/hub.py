"""Reads the log once for all readers of a process, and passes on what it finds."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from app.errors import CursorExpired, Unavailable
from app.events.announcer import Announcer
from app.events.event import Event, EventBatch, Render
from app.observability import metrics
from app.storage import events
from app.storage.database import Database
from app.storage.events import Cursor
from app.storage.reports import ReportRecord

log = structlog.get_logger()

_LOOK_EVERY_S = 1.0
"""How often the log is read where nothing was announced: an announcement is a hint that may be lost."""
_PACE_S = 0.02
_PACE_PER_READER_S = 0.0001
_SLOWEST_PACE_S = 0.1
"""How long events gather before they are passed on: each reading of the log costs every reader a write."""
_RETRY_S = 0.5
_MOST_BUFFERED = 200
"""How many batches wait for a reader; one that is slower goes on by reading the log itself."""
_SIGN_OF_LIFE = EventBatch(end=None)


class Feed:
    """What is passed on to one reader.

    Attributes:
        is_lost: Whether batches are missing, so that the reader has to read the log itself.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._batches: deque[EventBatch] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, batch: EventBatch) -> None:
        """Add a batch; lose everything when the reader is too slow."""
        if len(self._batches) >= _MOST_BUFFERED:
            self.lose()
        elif not self.is_lost:
            self._batches.append(batch)
            self._wake()

    def stir(self) -> None:
        """Send a heartbeat to a waiting reader."""
        if not self._batches and not self.is_lost:
            self.offer(_SIGN_OF_LIFE)

    def lose(self) -> None:
        """End the feed."""
        self.is_lost = True
        self._batches.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> EventBatch | None:
        """Wait for the next batch; None when the feed is lost."""
        while not self._batches and not self.is_lost:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._batches.popleft() if self._batches else None


class EventHub:
    """Follows the log while there are readers."""

    def __init__(self, database: Database, render: Render, announcer: Announcer) -> None:
        """Make a hub whose events are rendered by `render`."""
        announcer.tell(self.announce)
        self._database = database
        self.render = render
        self.is_stopping = False
        self._feeds: set[Feed] = set()
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self._cursor: Cursor | None = None

    def announce(self) -> None:
        """Look for new events soon."""
        self._news.set()

    def stop(self) -> None:
        """Let all readers end."""
        self.is_stopping = True
        for feed in self._feeds:
            feed.lose()

    @contextmanager
    def feed(self) -> Iterator[Feed]:
        """Follow the log from where the hub is; wait for `begun` before reading what comes before."""
        feed = Feed()
        if self.is_stopping:
            feed.lose()
        self._feeds.add(feed)
        metrics.EVENT_READERS.set(len(self._feeds))
        self._news.set()
        try:
            yield feed
        finally:
            self._feeds.remove(feed)
            metrics.EVENT_READERS.set(len(self._feeds))

    async def begun(self) -> None:
        """Wait until the hub has a place from which it passes everything on."""
        await self._begun.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["EventHub"]:
        """Follow the log while the block lasts."""
        tasks = [asyncio.create_task(self._follow(), name="events"), asyncio.create_task(self._stir(), name="stir")]
        try:
            yield self
        finally:
            self.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stir(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for feed in self._feeds:
                feed.stir()

    async def _follow(self) -> None:
        while True:
            try:
                is_last = await self._read()
            except Unavailable as error:
                log.warning("events cannot be read", code=error.code)
                await asyncio.sleep(_RETRY_S)
            except Exception as error:  # noqa: BLE001 -- readers must not be left without events for good
                # Where the place itself is gone, readers learn it as soon as they read the log themselves.
                if not isinstance(error, CursorExpired):
                    log.error("events cannot be read", error=type(error).__name__)
                self._lose_place()
                await asyncio.sleep(_RETRY_S)
            else:
                await asyncio.sleep(min(_SLOWEST_PACE_S, _PACE_S + _PACE_PER_READER_S * len(self._feeds)))
                if is_last:
                    await self._wait_for_news()

    def _lose_place(self) -> None:
        self._cursor = None
        self._begun.clear()
        for feed in self._feeds:
            feed.lose()

    async def _read(self) -> bool:
        """Pass on what is new; return whether that is all there is."""
        self._news.clear()
        if not self._feeds:
            self._cursor = None
            self._begun.clear()
            return True
        if self._cursor is None:
            self._cursor = await events.latest(self._database)
            self._begun.set()
        page = await events.read(self._database, self._cursor)
        self._cursor = page.next
        batch = EventBatch(events=[Event(one, self.render) for one in page.events], end=page.next)
        self._measure(batch)
        for feed in self._feeds:
            feed.offer(batch)
        return page.is_last

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_EVERY_S if self._feeds else None):
                await self._news.wait()
        except TimeoutError:
            return

    def _measure(self, batch: EventBatch) -> None:
        oldest = next((one.stored.what for one in batch.events if isinstance(one.stored.what, ReportRecord)), None)
        if oldest is not None:
            lag = self._database.clock.now() - oldest.received_at
            metrics.EVENT_LAG_SECONDS.observe(max(0.0, lag.total_seconds()))
