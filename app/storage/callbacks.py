"""What came in, raw: listing, reading and replaying callbacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.rows import instant_of
from app.storage.tables import CallbackRow


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """Which callbacks are meant; None does not restrict.

    Attributes:
        since: Arrived at or after this instant.
        until: Arrived before this instant.
        before: Older than the callback with this id, for paging.
    """

    state: str | None = None
    account: str | None = None
    service: str | None = None
    signature: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None


async def page(session: AsyncSession, wanted: CallbackFilter, limit: int) -> Sequence[CallbackRow]:
    """List callbacks, newest first."""
    query = select(CallbackRow).order_by(CallbackRow.received_at.desc(), CallbackRow.id.desc()).limit(limit)
    for column in ("state", "account", "service", "signature"):
        value = getattr(wanted, column)
        if value is not None:
            query = query.where(getattr(CallbackRow, column) == value)
    if wanted.since is not None:
        query = query.where(CallbackRow.received_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(CallbackRow.received_at < wanted.until)
    if wanted.before is not None:
        place = tuple_(instant_of(wanted.before), wanted.before)
        query = query.where(tuple_(CallbackRow.received_at, CallbackRow.id) < place)
    return (await session.scalars(query)).all()


async def find(session: AsyncSession, key: UUID) -> CallbackRow | None:
    """Find one callback by its id, which leads to its partition."""
    return await session.get(CallbackRow, (instant_of(key), key))


async def settle(session: AsyncSession, key: UUID, *, state: str, reason: str | None) -> None:
    """Record what a replay came to."""
    place = update(CallbackRow).where(CallbackRow.received_at == instant_of(key), CallbackRow.id == key)
    await session.execute(place.values(state=state, reason=reason))
