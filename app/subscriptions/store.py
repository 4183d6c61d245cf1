"""Where leaders keep how far they have come; every commit is refused once another process leads."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from app.ids import public_id
from app.storage import deliveries, events, subscriptions
from app.storage.database import Database, Transaction
from app.storage.deliveries import DeliveryRecord
from app.storage.events import NewEvent
from app.storage.subscriptions import Progress, Subscription

log = structlog.get_logger()


class LeaderStore:
    """Keeps how far one process has come with one subscription."""

    def __init__(self, database: Database, subscription_id: UUID, process: UUID) -> None:
        self._database = database
        self._id = subscription_id
        self._process = process

    async def outstanding(self, limit: int) -> Sequence[DeliveryRecord]:
        """List what is to be tried again, in the order of the log.

        Raises:
            Unavailable: The database cannot be reached.
        """
        async with self._database.transaction() as db:
            return await deliveries.outstanding(db, self._id, limit)

    async def save(
        self, progress: Progress, *, new: Sequence[DeliveryRecord], changed: Sequence[DeliveryRecord]
    ) -> bool:
        """Keep all of it in one commit; False, and nothing is kept, where another process leads by now.

        Raises:
            Unavailable: The database cannot be reached.
        """
        async with self._database.transaction() as db:
            if not await subscriptions.advance(db, self._id, self._process, progress):
                return False
            await deliveries.add(db, new)
            await deliveries.change(db, changed)
        return True

    async def disable(self, problem: str) -> None:
        """Disable the subscription, and say so by an event and in the log.

        Raises:
            Unavailable: The database cannot be reached.
        """
        async with self._database.transaction() as db:
            disabled = await subscriptions.disable(db, self._id, problem)
            if disabled is not None:
                await announce_disabled(db, [disabled], self._database.clock.now())


async def announce_disabled(db: Transaction, disabled: Sequence[Subscription], at: datetime) -> None:
    """Append events, and log, that subscriptions are disabled."""
    for one in disabled:
        log.error("subscription disabled", subscription=public_id(one.id), problem=one.problem)
    await events.append(db, [_to_event(one, at) for one in disabled])


def _to_event(disabled: Subscription, at: datetime) -> NewEvent:
    return NewEvent(
        type="subscription.disabled",
        subject=f"subscription/{public_id(disabled.id)}",
        at=at,
        key=str(disabled.revision),
        account=disabled.account,
        data={
            "id": public_id(disabled.id),
            "name": disabled.name,
            "state": disabled.state,
            "problem": disabled.problem,
        },
    )
