"""What the deliveries need of the log of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.storage.subscriptions import Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverableEvent:
    """An event as it is delivered.

    Attributes:
        subject: What it is about; events of one subject stay in order.
        at: The `time` of the CloudEvent.
        body: The CloudEvent in JSON.
    """

    id: UUID
    subject: str
    at: datetime
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStretch:
    """Some events of the log, in its order.

    Attributes:
        next: The cursor behind them, and behind all that was left out before it.
        is_last: Whether the log ended there.
    """

    events: Sequence[DeliverableEvent]
    next: str
    is_last: bool


class EventLog(Protocol):
    """The log of events, as one subscription may see it."""

    async def begin(self, start: str) -> str:
        """Turn `latest`, `earliest` or a caller's cursor into a cursor to read from.

        Raises:
            InvalidArgument: It is none of these.
            CursorExpired: What comes after the cursor is no longer kept.
            Unavailable: The database cannot be reached.
        """
        ...

    async def count(self, subscription: Subscription, *, pages: int) -> tuple[int, datetime | None]:
        """Count what the subscription has yet to read, and find the time of the first of it.

        Args:
            pages: How many pages of the log to look through; where there are more, less is counted than there is.

        Raises:
            Unavailable: The database cannot be reached.
        """
        ...

    async def read(self, subscription: Subscription, cursor: str, limit: int) -> LogStretch:
        """Read at most `limit` events after a cursor that match the subscription's filters and are within its reach.

        Raises:
            CursorExpired: What comes after the cursor is no longer kept.
            Unavailable: The database cannot be reached.
        """
        ...

    async def fetch(self, ids: Sequence[UUID]) -> Mapping[UUID, DeliverableEvent]:
        """Read events by their ids; those that are no longer kept are missing.

        Raises:
            Unavailable: The database cannot be reached.
        """
        ...
