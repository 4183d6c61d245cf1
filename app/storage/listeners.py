"""Our callback listeners: their tokens, and the state of their registration."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.tables import ListenerRow, ReportRow


async def every(session: AsyncSession) -> Sequence[ListenerRow]:
    """List all listeners."""
    return (await session.scalars(select(ListenerRow).order_by(ListenerRow.account, ListenerRow.service))).all()


async def find(session: AsyncSession, account: str, service: str) -> ListenerRow | None:
    """Find the listener of an account and service."""
    return await session.get(ListenerRow, (account, service))


async def reserve(session: AsyncSession, *, provider: str, account: str, service: str, token: str) -> ListenerRow:
    """Store a token for an account and service, or return the row that is stored already; the row is locked."""
    new = insert(ListenerRow).values(provider=provider, account=account, service=service, token=token)
    await session.execute(new.on_conflict_do_nothing())
    kept = select(ListenerRow).where(ListenerRow.account == account, ListenerRow.service == service).with_for_update()
    return (await session.scalars(kept)).one()


async def forget(session: AsyncSession, account: str, service: str) -> None:
    """Forget a listener; its token is unknown from then on."""
    await session.execute(delete(ListenerRow).where(ListenerRow.account == account, ListenerRow.service == service))


async def claim_due(session: AsyncSession, now: datetime, before: datetime) -> list[ListenerRow]:
    """Take the registered listeners last checked `before`; no other process gets the same ones."""
    due = (
        select(ListenerRow.account, ListenerRow.service)
        .where(ListenerRow.registered_at.is_not(None))
        .where(ListenerRow.checked_at.is_(None) | (ListenerRow.checked_at < before))
        .with_for_update(skip_locked=True)
    )
    taken = []
    for account, service in (await session.execute(due)).all():
        claimed = update(ListenerRow).where(ListenerRow.account == account, ListenerRow.service == service)
        row = await session.scalar(claimed.values(checked_at=now).returning(ListenerRow))
        if row is not None:
            taken.append(row)
    return taken


async def note_check(
    session: AsyncSession, account: str, service: str, problem: str | None, *, is_lost: bool | None
) -> ListenerRow | None:
    """Keep what a check found; return the listener if it was lost or regained since the last one.

    Args:
        is_lost: None where the provider could not be asked.
    """
    place = update(ListenerRow).where(ListenerRow.account == account, ListenerRow.service == service)
    await session.execute(place.values(problem=problem))
    if is_lost is None:
        return None
    changed = place.where(ListenerRow.is_lost.is_distinct_from(is_lost)).values(is_lost=is_lost)
    return await session.scalar(
        changed.returning(ListenerRow).execution_options(populate_existing=True, synchronize_session=False)
    )


async def has_arrived(session: AsyncSession, transaction_id: str) -> bool:
    """Return whether a callback of a transaction is stored."""
    found = select(ReportRow.id).where(ReportRow.transaction_id == transaction_id).limit(1)
    return await session.scalar(found) is not None
