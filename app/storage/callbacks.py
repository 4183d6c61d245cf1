"""What came in, raw: listing, reading and replaying callbacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, any_, false, func, literal, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import EVERYTHING, Reach
from app.ids import instant_of
from app.plausibility import OTHER_ACCOUNT
from app.storage.tables import CallbackRow


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFilter:
    """Which callbacks are meant; None does not restrict.

    Attributes:
        since: Arrived at or after this instant.
        until: Arrived before this instant.
        before: Older than the callback with this id, for paging.
        reach: What the reader may see at all, by accounts.
    """

    state: str | None = None
    account: str | None = None
    service: str | None = None
    signature: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None
    reach: Reach = EVERYTHING


class StoredCallback(NamedTuple):
    """A callback as it is stored; members are columns of `callbacks`."""

    id: UUID
    received_at: datetime
    provider: str
    account: str | None
    service: str
    state: str
    signature: str
    reason: str | None
    flags: Sequence[str] | None
    body: bytes


_COLUMNS = [getattr(CallbackRow, name) for name in StoredCallback._fields]


async def page(session: AsyncSession, wanted: CallbackFilter, limit: int) -> list[StoredCallback]:
    """List callbacks, newest first."""
    query = select(*_COLUMNS).order_by(CallbackRow.received_at.desc(), CallbackRow.id.desc())
    found = await session.execute(query.where(*_matching(wanted)).limit(limit))
    return [StoredCallback._make(row) for row in found]


async def count(session: AsyncSession, wanted: CallbackFilter, most: int) -> int:
    """Count callbacks, and stop at `most`."""
    matching = select(CallbackRow.id).where(*_matching(wanted)).limit(most).subquery()
    return await session.scalar(select(func.count()).select_from(matching)) or 0


def _matching(wanted: CallbackFilter) -> list[ColumnElement[bool]]:
    conditions = _within(wanted.reach)
    for column in ("state", "account", "service", "signature"):
        value = getattr(wanted, column)
        if value is not None:
            conditions.append(getattr(CallbackRow, column) == value)
    if wanted.since is not None:
        conditions.append(CallbackRow.received_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(CallbackRow.received_at < wanted.until)
    if wanted.before is not None:
        place = tuple_(instant_of(wanted.before), wanted.before)
        conditions.append(tuple_(CallbackRow.received_at, CallbackRow.id) < place)
    return conditions


async def find(session: AsyncSession, key: UUID, reach: Reach = EVERYTHING) -> StoredCallback | None:
    """Find one callback within reach by its id, which leads to its partition."""
    query = select(*_COLUMNS).where(CallbackRow.received_at == instant_of(key), CallbackRow.id == key)
    row = (await session.execute(query.where(*_within(reach)))).one_or_none()
    return None if row is None else StoredCallback._make(row)


def _within(reach: Reach) -> list[ColumnElement[bool]]:
    """List what holds for callbacks of a reader's accounts; those that name other accounts are out of reach."""
    if reach.accounts is None:
        return []
    foreign = func.coalesce(literal(OTHER_ACCOUNT) == any_(CallbackRow.flags), false())
    return [CallbackRow.account.in_(sorted(reach.accounts)), ~foreign]


async def settle(session: AsyncSession, key: UUID, *, state: str, reason: str | None) -> None:
    """Record what a replay came to."""
    place = update(CallbackRow).where(CallbackRow.received_at == instant_of(key), CallbackRow.id == key)
    await session.execute(place.values(state=state, reason=reason))


async def count_quarantined(session: AsyncSession) -> int:
    """Count the callbacks of which nothing could be made yet."""
    query = select(func.count()).select_from(CallbackRow).where(CallbackRow.state == text("'quarantined'"))
    return await session.scalar(query) or 0
