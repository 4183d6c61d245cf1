"""Tries a receiver: one event that stands for nothing, now."""

from datetime import datetime
from uuid import UUID

import orjson

from app.access import Actor, AuditLog
from app.caller import Caller
from app.ids import new_id, public_id
from app.instants import to_text
from app.storage.database import Database
from app.storage.subscriptions import Subscription
from app.subscriptions.events import DeliverableEvent
from app.subscriptions.messages import to_message
from app.subscriptions.receiver import Answer, Receiver
from app.subscriptions.registry import SubscriptionRegistry
from app.subscriptions.signatures import signed

TYPE = "gateway.test"


class SubscriptionTest:
    """Delivers a test event, once, whatever state a subscription is in."""

    def __init__(
        self, database: Database, audit: AuditLog, registry: SubscriptionRegistry, receiver: Receiver, source: str
    ) -> None:
        """Wire the use case; `source` is the gateway's own address, as in all events."""
        self._database = database
        self._audit = audit
        self._registry = registry
        self._receiver = receiver
        self._source = source

    async def one(self, key: UUID, caller: Caller, by: Actor) -> Answer:
        """Deliver a test event, and return what the receiver answered.

        Raises:
            NotFound: The caller has no subscription with this id.
        """
        row = (await self._registry.find(key, caller)).row
        now = self._database.clock.now()
        event = self._event(row, now)
        message = to_message([event], is_batch=row.batch_events is not None)
        secrets = self._registry.secrets(row, now)
        headers = {**signed(secrets, public_id(event.id), now, message.body), "Content-Type": message.media_type}
        async with self._audit.deed(by, "subscription.test", subject=public_id(key)):
            return await self._receiver.post(row.url, headers, message.body)

    def _event(self, row: Subscription, now: datetime) -> DeliverableEvent:
        event_id, subject = UUID(bytes=new_id(now).bytes), f"subscription/{public_id(row.id)}"
        body = orjson.dumps(
            {
                "specversion": "1.0",
                "id": public_id(event_id),
                "type": TYPE,
                "source": self._source,
                "subject": subject,
                "time": to_text(now),
                "datacontenttype": "application/json",
                "data": {"id": public_id(row.id), "name": row.name},
            }
        )
        return DeliverableEvent(id=event_id, subject=subject, at=now, body=body)
