"""Deliveries: what was sent to receivers, what is to be tried again, and what was given up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, bindparam, func, insert, select, tuple_, update

from app.ids import instant_of
from app.storage.database import Transaction
from app.storage.tables import DeliveryRow

DeliveryState = Literal["delivered", "retrying", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """A delivery as it is kept; members as in `tables.DeliveryRow`."""

    created_at: datetime
    id: UUID
    subscription_id: UUID
    place: int
    webhook_id: str
    event_ids: Sequence[UUID]
    devices: Sequence[str]
    first_at: datetime
    last_at: datetime
    state: DeliveryState
    due_at: datetime | None
    failed: int
    attempts: Sequence[dict[str, Any]]


_NAMES = tuple(DeliveryRecord.__dataclass_fields__)
_COLUMNS = tuple(getattr(DeliveryRow, name) for name in _NAMES)
_CHANGING = ("state", "due_at", "failed", "attempts")


async def add(db: Transaction, new: Iterable[DeliveryRecord]) -> None:
    """Keep new deliveries."""
    rows = [{name: getattr(one, name) for name in _NAMES} for one in new]
    if rows:
        await db.execute(insert(DeliveryRow), rows)


async def change(db: Transaction, changed: Iterable[DeliveryRecord]) -> None:
    """Keep what has become of deliveries."""
    rows = [
        {"of_day": one.created_at, "of_id": one.id} | {f"new_{name}": getattr(one, name) for name in _CHANGING}
        for one in changed
    ]
    if rows:
        place = (DeliveryRow.created_at == bindparam("of_day"), DeliveryRow.id == bindparam("of_id"))
        table = DeliveryRow.__table__
        statement = update(table).where(*place).values({name: bindparam(f"new_{name}") for name in _CHANGING})  # type: ignore[arg-type]  # a mapped class has a table
        await (await db.connection()).execute(statement, rows)


async def outstanding(db: Transaction, subscription_id: UUID, limit: int) -> list[DeliveryRecord]:
    """List what is to be tried again, in the order of the log."""
    query = (
        select(*_COLUMNS)
        .where(DeliveryRow.subscription_id == subscription_id, DeliveryRow.state == "retrying")
        .order_by(DeliveryRow.place)
        .limit(limit)
    )
    return [_to_delivery(row) for row in await db.execute(query)]


async def count_outstanding(db: Transaction, subscription_id: UUID) -> tuple[int, datetime | None]:
    """Count the events that are to be tried again, and find the time of the oldest one."""
    query = select(func.coalesce(func.sum(func.cardinality(DeliveryRow.event_ids)), 0), func.min(DeliveryRow.first_at))
    row = await db.execute(query.where(DeliveryRow.subscription_id == subscription_id, DeliveryRow.state == "retrying"))
    count, oldest = row.one()
    return int(count), oldest


async def page(
    db: Transaction,
    subscription_id: UUID,
    *,
    state: DeliveryState | None,
    since: datetime | None,
    until: datetime | None,
    before: UUID | None,
    limit: int,
) -> list[DeliveryRecord]:
    """List deliveries, newest first."""
    query = select(*_COLUMNS).where(DeliveryRow.subscription_id == subscription_id)
    if state is not None:
        query = query.where(DeliveryRow.state == state)
    if since is not None:
        query = query.where(DeliveryRow.created_at >= since)
    if until is not None:
        query = query.where(DeliveryRow.created_at < until)
    if before is not None:
        query = query.where(tuple_(DeliveryRow.created_at, DeliveryRow.id) < tuple_(instant_of(before), before))
    query = query.order_by(DeliveryRow.created_at.desc(), DeliveryRow.id.desc()).limit(limit)
    return [_to_delivery(row) for row in await db.execute(query)]


async def find(db: Transaction, subscription_id: UUID, ids: Sequence[UUID]) -> list[DeliveryRecord]:
    """Find deliveries of a subscription by their ids."""
    keys = [(instant_of(one), one) for one in ids]
    query = select(*_COLUMNS).where(
        tuple_(DeliveryRow.created_at, DeliveryRow.id).in_(keys), DeliveryRow.subscription_id == subscription_id
    )
    return [_to_delivery(row) for row in await db.execute(query)]


async def begin_anew(db: Transaction, subscription_id: UUID, ids: Sequence[UUID], now: datetime) -> int:
    """Let deliveries be sent again; return how many they are."""
    keys = [(instant_of(one), one) for one in ids]
    again = update(DeliveryRow).where(
        tuple_(DeliveryRow.created_at, DeliveryRow.id).in_(keys), DeliveryRow.subscription_id == subscription_id
    )
    return await _again(db, again, now)


async def begin_anew_between(
    db: Transaction, subscription_id: UUID, since: datetime, until: datetime, now: datetime
) -> int:
    """Let the deliveries be sent again that hold an event of a time; return how many they are."""
    again = update(DeliveryRow).where(
        DeliveryRow.subscription_id == subscription_id, DeliveryRow.last_at >= since, DeliveryRow.first_at < until
    )
    return await _again(db, again, now)


async def _again(db: Transaction, statement: Any, now: datetime) -> int:
    values = {"state": "retrying", "due_at": now, "failed": 0}
    rows = await db.execute(statement.values(values).returning(DeliveryRow.id))
    return len(rows.all())


def _to_delivery(row: Row[Any]) -> DeliveryRecord:
    return DeliveryRecord(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
