"""Whether providers are degraded for any replica: each has a circuit breaker of its own, and the database decides."""

from datetime import datetime, timedelta

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.tables import ProviderStateRow


async def note_degraded(session: AsyncSession, provider: str) -> datetime | None:
    """Note that this replica finds a provider degraded; return when, if nobody had noted it before."""
    noted = insert(ProviderStateRow).values(provider=provider, is_degraded=True, degraded_at=func.now())
    changed: datetime | None = await session.scalar(
        noted.on_conflict_do_update(
            index_elements=[ProviderStateRow.provider],
            set_={"is_degraded": True, "degraded_at": func.now()},
            where=~ProviderStateRow.is_degraded,
        ).returning(ProviderStateRow.degraded_at)
    )
    if changed is None:
        again = update(ProviderStateRow).where(ProviderStateRow.provider == provider)
        await session.execute(again.values(degraded_at=func.now()))
    return changed


async def note_recovered(session: AsyncSession, provider: str, *, unless_noted_for: timedelta) -> datetime | None:
    """Note that a provider has recovered; return when, if nobody had noted it before.

    Args:
        unless_noted_for: For so long no replica may have found it degraded.
    """
    recovered = update(ProviderStateRow).where(
        ProviderStateRow.provider == provider,
        ProviderStateRow.is_degraded,
        ProviderStateRow.degraded_at < func.now() - unless_noted_for,
    )
    changed: datetime | None = await session.scalar(recovered.values(is_degraded=False).returning(func.now()))
    return changed
