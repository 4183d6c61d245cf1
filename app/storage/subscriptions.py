"""Subscriptions: their definitions, which callers change, and their leases, which replicas take."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, delete, exists, func, insert, literal, or_, select, text, update

from app.caller import Reach
from app.storage.database import Transaction
from app.storage.tables import KeyRow, SubscriptionRow

State = Literal["active", "paused", "disabled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it is kept; members as in `tables.SubscriptionRow`."""

    id: UUID
    name: str
    url: str
    types: Sequence[str]
    account: str | None
    devices: Sequence[str]
    transaction_id: str | None
    batch_events: int | None
    batch_delay_s: float | None
    key_id: str
    api_key: UUID | None
    reach_accounts: Sequence[str] | None
    reach_devices: Sequence[str] | None
    state: State
    problem: str | None
    revision: int
    sealed_secret: bytes = field(repr=False)
    former_sealed_secret: bytes | None = field(repr=False)
    former_until: datetime | None
    created_at: datetime
    cursor: str
    next_place: int
    failures: int
    failing_since: datetime | None
    slow_until: datetime | None
    last_success_at: datetime | None
    last_attempt: dict[str, Any] | None

    @property
    def reach(self) -> Reach:
        """What may be delivered at most."""
        return Reach(
            accounts=None if self.reach_accounts is None else frozenset(self.reach_accounts),
            devices=None if self.reach_devices is None else tuple(self.reach_devices),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a subscription's leader has come; members as in `tables.SubscriptionRow`."""

    cursor: str
    next_place: int
    failures: int
    failing_since: datetime | None
    slow_until: datetime | None
    last_success_at: datetime | None
    last_attempt: dict[str, Any] | None


_COLUMNS = tuple(getattr(SubscriptionRow, name) for name in Subscription.__dataclass_fields__)


async def add(db: Transaction, new: Subscription) -> None:
    """Keep a new subscription."""
    values = {name: getattr(new, name) for name in Subscription.__dataclass_fields__}
    await db.execute(insert(SubscriptionRow).values(values))


async def every(db: Transaction, *, key_id: str | None, before: UUID | None, limit: int) -> list[Subscription]:
    """List subscriptions, newest first; those that a key answers for, or all."""
    query = select(*_COLUMNS).order_by(SubscriptionRow.id.desc()).limit(limit)
    if key_id is not None:
        query = query.where(SubscriptionRow.key_id == key_id)
    if before is not None:
        query = query.where(SubscriptionRow.id < before)
    return [_to_subscription(row) for row in await db.execute(query)]


async def find(db: Transaction, subscription_id: UUID, *, is_locked: bool = False) -> Subscription | None:
    """Find a subscription; `is_locked` keeps others from changing it until the transaction ends."""
    query = select(*_COLUMNS).where(SubscriptionRow.id == subscription_id)
    row = (await db.execute(query.with_for_update() if is_locked else query)).one_or_none()
    return None if row is None else _to_subscription(row)


async def change(db: Transaction, subscription_id: UUID, values: dict[str, Any]) -> Subscription | None:
    """Change a definition, so that the leader learns of it; None where there is no such subscription."""
    statement = update(SubscriptionRow).where(SubscriptionRow.id == subscription_id)
    values = {**values, "revision": SubscriptionRow.revision + 1}
    row = (await db.execute(statement.values(values).returning(*_COLUMNS))).one_or_none()
    return None if row is None else _to_subscription(row)


async def remove(db: Transaction, subscription_id: UUID) -> bool:
    """Forget a subscription; its deliveries go with their days."""
    removed = delete(SubscriptionRow).where(SubscriptionRow.id == subscription_id).returning(SubscriptionRow.id)
    return await db.scalar(removed) is not None


async def lead(db: Transaction, process: UUID, lease_s: float) -> list[Subscription]:
    """Take the active subscriptions that no living process leads, and keep those that this one leads."""
    now = func.clock_timestamp()
    free = or_(SubscriptionRow.leader == process, SubscriptionRow.leader.is_(None), SubscriptionRow.leased_until < now)
    wanted = (
        select(SubscriptionRow.id)
        .where(SubscriptionRow.state == "active", free)
        .with_for_update(skip_locked=True)
        .cte("wanted")
    )
    taken = (
        update(SubscriptionRow)
        .where(SubscriptionRow.id.in_(select(wanted.c.id)))
        .values(leader=process, leased_until=now + text(f"interval '{lease_s} seconds'"))
        .returning(*_COLUMNS)
    )
    return [_to_subscription(row) for row in await db.execute(taken)]


async def release(db: Transaction, process: UUID, ids: Sequence[UUID]) -> None:
    """Let others lead what a process has led."""
    mine = update(SubscriptionRow).where(SubscriptionRow.leader == process, SubscriptionRow.id.in_(ids))
    await db.execute(mine.values(leader=None, leased_until=None))


async def advance(db: Transaction, subscription_id: UUID, process: UUID, progress: Progress) -> bool:
    """Keep how far the leader has come; False where another process leads by now, or nobody needs to any more."""
    mine = update(SubscriptionRow).where(SubscriptionRow.id == subscription_id, SubscriptionRow.leader == process)
    values = {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
    return await db.scalar(mine.values(values).returning(SubscriptionRow.id)) is not None


async def disable(db: Transaction, subscription_id: UUID, problem: str) -> Subscription | None:
    """Disable an active subscription; None where it is not active."""
    statement = update(SubscriptionRow).where(SubscriptionRow.id == subscription_id, SubscriptionRow.state == "active")
    values = {"state": "disabled", "problem": problem, "revision": SubscriptionRow.revision + 1}
    row = (await db.execute(statement.values(values).returning(*_COLUMNS))).one_or_none()
    return None if row is None else _to_subscription(row)


async def disable_without_key(db: Transaction, problem: str) -> list[Subscription]:
    """Disable the subscriptions whose key is revoked or has expired, and return them."""
    in_use = exists().where(
        KeyRow.id == SubscriptionRow.api_key,
        KeyRow.revoked_at.is_(None),
        or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > func.clock_timestamp()),
    )
    statement = update(SubscriptionRow).where(
        SubscriptionRow.state != literal("disabled"), SubscriptionRow.api_key.is_not(None), ~in_use
    )
    values = {"state": "disabled", "problem": problem, "revision": SubscriptionRow.revision + 1}
    return [_to_subscription(row) for row in await db.execute(statement.values(values).returning(*_COLUMNS))]


async def count_by_state(db: Transaction) -> dict[str, int]:
    """Count subscriptions by state; those whose last attempt failed as `failing`."""
    rows = await db.execute(
        select(SubscriptionRow.state, SubscriptionRow.failures > 0, func.count()).group_by(text("1, 2"))
    )
    counts: dict[str, int] = {}
    for state, is_failing, count in rows:
        name = "failing" if state == "active" and is_failing else state
        counts[name] = counts.get(name, 0) + count
    return counts


def _to_subscription(row: Row[Any]) -> Subscription:
    return Subscription(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name
