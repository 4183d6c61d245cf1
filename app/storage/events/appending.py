"""Adding events that are no reports; reports become events in the statement that stores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.ids import milliseconds
from app.storage.rows import content_hash, report_id_of_hash

CHANNEL = "gateway_events"
"""Where new events are announced."""

TRANSACTION = "event_generation(), pg_current_xact_id()::text::bigint, nextval('event_parts')"
"""What the first three columns of a new row are."""

_APPEND = text(
    f"""
    INSERT INTO events (generation, xid, part, id, type, subject, at, account, session_id, data)
    SELECT {TRANSACTION}, :id, :type, :subject, :at, :account, :session_id, CAST(:data AS jsonb)
    WHERE NOT EXISTS (SELECT FROM events WHERE id = :id)
    RETURNING id
    """  # noqa: S608 -- our own constant
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 0))")
_ANNOUNCE = text("SELECT pg_notify(:channel, '')")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Something that happened.

    Attributes:
        type: Such as `periodic.started`.
        subject: Such as `session/01JNB4C0M8…`.
        at: When it happened.
        key: What makes two events of this type, subject and time different; they are one where it is the same.
        data: JSON, as callers see it.
        account: Whose event it is; None: nobody's who may not see everything.
        session_id: The periodic session that it is about; whoever may see its devices may see the event.
    """

    type: str
    subject: str
    at: datetime
    data: dict[str, Any]
    key: str = ""
    account: str | None = None
    session_id: UUID | None = None

    @property
    def id(self) -> UUID:
        """The id, which the content decides."""
        digits = content_hash(f"{self.type}|{self.subject}|{milliseconds(self.at)}|{self.key}")
        return UUID(report_id_of_hash(self.at, digits))


async def append(session: AsyncSession, events: Sequence[NewEvent]) -> list[UUID]:
    """Add events; readers see them, on all replicas, once the transaction is committed.

    Returns:
        The ids of those that were not there already.
    """
    added = []
    for event in sorted(events, key=lambda one: one.id):
        # Two that find the same at the same time wait for each other here, and the second one finds it there.
        await session.execute(_LOCK, {"id": str(event.id)})
        row = {
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "at": event.at,
            "account": event.account,
            "session_id": event.session_id,
            "data": orjson.dumps(event.data).decode(),
        }
        if await session.scalar(_APPEND, row) is not None:
            added.append(event.id)
    if added:
        await session.execute(_ANNOUNCE, {"channel": CHANNEL})
    return added
