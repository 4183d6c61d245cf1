"""Reading events: pages for those who poll, and batches without end for those who follow."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from app.access import Actor, AuditLog
from app.errors import Unavailable
from app.events.event import Event, EventBatch
from app.events.hub import EventHub, Feed
from app.events.selection import EventFilter, Selection, selection_of
from app.storage import events
from app.storage.audit import About
from app.storage.database import Database
from app.storage.events import Cursor
from app.storage.reports import ReportRecord

Start = Cursor | Literal["earliest", "latest"]
_MOST_SEARCHED = 20_000
"""How many events one page looks through for those that are wanted."""
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events in their order; `next` is where to go on, behind what was not wanted, too."""

    events: Sequence[Event]
    next: str


class EventReader:
    """Reads the log for callers."""

    def __init__(self, database: Database, audit: AuditLog, hub: EventHub) -> None:
        self._database = database
        self._audit = audit
        self._hub = hub

    async def page(self, wanted: EventFilter, by: Actor, *, start: Start, limit: int, wait_s: float) -> EventPage:
        """Read the events after a place, or wait for the first one; leaves an audit row about what is shown.

        A page may be short, or empty, and not the last one: it searches a limited part of the log.

        Raises:
            CursorExpired: Events after the place are no longer kept, or it is from another database.
            Unavailable: The database cannot be reached.
        """
        await self._database.pending.settled()
        selection = await selection_of(self._database, wanted)
        page = await self._search(selection, await self.place(start), limit)
        if wait_s and not page.events:
            page = await self._wait(selection, Cursor.parse(page.next), limit, wait_s)
        self._record(page.events, by)
        return page

    async def place(self, start: Start) -> Cursor:
        """Find the place where a reader begins.

        Raises:
            Unavailable: The database cannot be reached.
        """
        if isinstance(start, Cursor):
            return start
        return await (events.earliest if start == "earliest" else events.latest)(self._database)

    async def begin(self, wanted: EventFilter, by: Actor) -> Selection:
        """Commit an audit row about a stream that begins, and look up what its filter needs.

        Raises:
            Unavailable, Overloaded: The row cannot be committed, or nothing can be looked up.
        """
        await self._audit.commit(by, "events.stream", "accepted", **_about(wanted, "begins"))
        return await self.selection(wanted)

    def end(self, wanted: EventFilter, by: Actor, sent: int) -> None:
        """Queue an audit row about a stream that has ended."""
        self._audit.record(by, "events.stream", "shown", **_about(wanted, f"{sent} events"))

    async def selection(self, wanted: EventFilter) -> Selection:
        """Look up what a filter needs; anew from time to time, where it says so."""
        return await selection_of(self._database, wanted)

    async def follow(self, cursor: Cursor) -> AsyncGenerator[EventBatch, None]:
        """Yield all events after a place, and then new ones, until the process stops; close the generator.

        Batches without an end are signs of life. Where the database goes away later, it is waited for.

        Raises:
            CursorExpired: Events after the place are no longer kept, or it is from another database.
            Unavailable: The database cannot be reached at the beginning.
        """
        has_begun = False
        while not self._hub.is_stopping:
            try:
                async with aclosing(self._follow(cursor)) as batches:
                    async for batch in batches:
                        has_begun, cursor = True, batch.end or cursor
                        yield batch
            except Unavailable:
                if not has_begun:
                    raise
                await asyncio.sleep(_RETRY_S)

    async def _follow(self, cursor: Cursor) -> AsyncGenerator[EventBatch, None]:
        """Catch up, and then take what the hub passes on, until that breaks off."""
        async for batch in self._to_end(cursor):
            cursor = batch.end or cursor
            yield batch
        with self._hub.feed() as feed:
            await self._hub.begun()
            # What has come before the feed begins is read; what has been read and comes through the feed is left out.
            async for batch in self._to_end(cursor):
                cursor = batch.end or cursor
                yield batch
            async for batch in _passed_on(feed, cursor):
                yield batch

    async def _to_end(self, cursor: Cursor) -> AsyncGenerator[EventBatch, None]:
        is_last = False
        while not is_last and not self._hub.is_stopping:
            page = await events.read(self._database, cursor)
            cursor, is_last = page.next, page.is_last
            yield EventBatch(events=[Event(one, self._hub.render) for one in page.events], end=cursor)

    async def _search(self, selection: Selection, cursor: Cursor, limit: int) -> EventPage:
        size = limit if selection.is_everything else events.MOST_EVENTS
        found: list[Event] = []
        for _ in range(max(1, _MOST_SEARCHED // size)):
            page = await events.read(self._database, cursor, limit=size)
            batch = EventBatch(events=[Event(one, self._hub.render) for one in page.events], end=page.next)
            cursor = page.next
            found += islice(batch.selected(selection), limit + 1 - len(found))
            if len(found) > limit:
                return EventPage(events=found[:limit], next=found[limit - 1].cursor)
            if page.is_last or len(found) == limit:
                break
        return EventPage(events=found, next=str(cursor))

    async def _wait(self, selection: Selection, cursor: Cursor, limit: int, wait_s: float) -> EventPage:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s), aclosing(self.follow(cursor)) as batches:
                async for batch in batches:
                    found = list(islice(batch.selected(selection), limit + 1))
                    cursor = batch.end or cursor
                    if len(found) > limit:
                        return EventPage(events=found[:limit], next=found[limit - 1].cursor)
                    if found:
                        return EventPage(events=found, next=str(cursor))
        return EventPage(events=(), next=str(cursor))

    def _record(self, shown: Sequence[Event], by: Actor) -> None:
        """Queue an audit row about events that are shown; it names their device and account if they have only one."""
        if not shown:
            return
        reports = [one.stored.what for one in shown if isinstance(one.stored.what, ReportRecord)]
        devices, accounts = {one.device for one in reports}, {one.stored.what.account for one in shown}
        self._audit.record(
            by,
            "events.read",
            "shown",
            account=next(iter(accounts)) if len(accounts) == 1 else None,
            device=next(iter(devices)) if len(devices) == 1 and len(reports) == len(shown) else None,
            subject=f"{len(shown)} events of {len(devices)} devices",
        )


def _about(wanted: EventFilter, subject: str) -> About:
    """Name what a stream is about, as far as its filter says so."""
    about = About(subject=subject)
    device = wanted.device_id or (wanted.mdn and f"mdn:{wanted.mdn}")
    if device:
        about["device"] = device
    if wanted.account:
        about["account"] = wanted.account
    return about


async def _passed_on(feed: Feed, seen: Cursor) -> AsyncGenerator[EventBatch, None]:
    """Yield what a hub publishes, without what a reader has seen."""
    is_level = False
    while (batch := await feed.next()) is not None:
        if is_level or batch.end is None:
            yield batch
        else:
            # From where the hub has passed all that the reader had seen, both are at the same place.
            is_level = seen.union(batch.end) == batch.end
            yield batch.seen_with(seen)
