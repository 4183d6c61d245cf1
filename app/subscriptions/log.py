"""The log of events, as subscriptions read it: filtered, within reach, and as they are delivered."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from app.errors import CursorExpired, FieldError, InvalidArgument
from app.events import EventFilter, Selection, matching, subject_of
from app.events.event import Render
from app.events.selection import selection_of
from app.storage import events
from app.storage.database import Database
from app.storage.events import MOST_EVENTS, Cursor, StoredEvent
from app.storage.reports import ReportRecord
from app.storage.subscriptions import Subscription
from app.subscriptions.events import DeliverableEvent, LogStretch

_PAGES_AT_ONCE = 5
_LOOKED_UP_FOR_S = 10.0


class SubscribedEvents:
    """Reads the log for subscriptions."""

    def __init__(self, database: Database, render: Render) -> None:
        self._database = database
        self._render = render
        self._selections: dict[tuple[UUID, int], tuple[float, Selection]] = {}

    async def begin(self, start: str) -> str:
        """Turn `latest`, `earliest` or a caller's cursor into a cursor to read from.

        Raises:
            InvalidArgument: It is none of these.
            CursorExpired: What comes after the cursor is no longer kept.
            Unavailable: The database cannot be reached.
        """
        try:
            cursor = await self._cursor(start)
        except ValueError:
            detail = "must be `latest`, `earliest` or `next` of a page of /events"
            field = FieldError(pointer="/start", code="INVALID_FORMAT", detail=detail)
            raise InvalidArgument("The start is not valid.", errors=(field,)) from None
        await events.read(self._database, cursor, limit=1)
        return str(cursor)

    async def read(self, subscription: Subscription, cursor: str, limit: int) -> LogStretch:
        """Read at most `limit` events after a cursor that match the subscription's filters and are within its reach.

        Raises:
            CursorExpired: What comes after the cursor is no longer kept.
            Unavailable: The database cannot be reached.
        """
        selection = await self._selection(subscription)
        place = await self._cursor(cursor)
        asked = limit if selection.is_everything else MOST_EVENTS
        for _ in range(_PAGES_AT_ONCE):
            page = await events.read(self._database, place, limit=asked)
            found = [one for one in page.events if selection.has(one)]
            if found or page.is_last:
                break
            place = page.next
        taken = found[:limit]
        is_cut = len(found) > limit
        end = taken[-1].cursor if is_cut else page.next
        return LogStretch(
            events=[self._to_event(one) for one in taken], next=str(end), is_last=page.is_last and not is_cut
        )

    async def fetch(self, ids: Sequence[UUID]) -> Mapping[UUID, DeliverableEvent]:
        """Read events by their ids; those that are no longer kept are missing.

        Raises:
            Unavailable: The database cannot be reached.
        """
        found = await events.fetch(self._database, ids)
        return {key: self._to_event(one) for key, one in found.items()}

    async def count(self, subscription: Subscription, *, pages: int) -> tuple[int, datetime | None]:
        """Count what the subscription has yet to read, and find the time of the first of it.

        Args:
            pages: How many pages of the log to look through; where there are more, less is counted than there is.

        Raises:
            Unavailable: The database cannot be reached.
        """
        selection = await self._selection(subscription)
        place, count, oldest = await self._cursor(subscription.cursor), 0, None
        for _ in range(pages):
            try:
                page = await events.read(self._database, place)
            except CursorExpired:
                place = await events.earliest(self._database)
                continue
            found = [one for one in page.events if selection.has(one)]
            if found and oldest is None:
                oldest = _time_of(found[0])
            count, place = count + len(found), page.next
            if page.is_last:
                break
        return count, oldest

    async def _cursor(self, text: str) -> Cursor:
        match text:
            case "earliest":
                return await events.earliest(self._database)
            case "latest":
                return await events.latest(self._database)
        return Cursor.parse(text)

    async def _selection(self, subscription: Subscription) -> Selection:
        """Look up what a subscription may see; devices learn new names, so now and then anew."""
        key = (subscription.id, subscription.revision)
        at, selection = self._selections.get(key, (0.0, None))
        if selection is None or (selection.is_looked_up and time.monotonic() - at > _LOOKED_UP_FOR_S):
            selection = await selection_of(self._database, to_filter(subscription))
            self._selections = {one: kept for one, kept in self._selections.items() if one[0] != subscription.id}
            self._selections[key] = (time.monotonic(), selection)
        return selection

    def _to_event(self, stored: StoredEvent) -> DeliverableEvent:
        key = stored.what.id
        # What names no device has no order to keep.
        subject = subject_of(stored) or str(key)
        return DeliverableEvent(id=key, subject=subject, at=_time_of(stored), body=self._render(stored))


def to_filter(subscription: Subscription) -> EventFilter:
    """Turn the filters of a subscription, and its reach, into those of the log."""
    return EventFilter(
        types=matching(subscription.types) if subscription.types else None,
        account=subscription.account,
        devices=frozenset(subscription.devices),
        transaction_id=subscription.transaction_id,
        reach=subscription.reach,
    )


def _time_of(stored: StoredEvent) -> datetime:
    what = stored.what
    return what.received_at if isinstance(what, ReportRecord) else what.at
