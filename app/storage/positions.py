"""The latest fix of a device, by fix time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.tables import PositionRow, ReportRow


async def latest(
    session: AsyncSession,
    keys: Sequence[str],
    *,
    accounts: Sequence[str] | None = None,
    provider: str | None = None,
    since: datetime | None = None,
) -> ReportRow | None:
    """Find the report with the latest fix among the device keys.

    Args:
        keys: Device keys under which the device may stand, see `aliases.keys_of`.
        accounts: Only fixes obtained for these accounts; empty text stands for none.
        provider: Only fixes of this provider.
        since: Only fixes at or after this instant.
    """
    wanted = (
        select(ReportRow)
        .join(PositionRow, (PositionRow.at == ReportRow.at) & (PositionRow.report_id == ReportRow.id))
        .where(PositionRow.device.in_(keys))
        .order_by(PositionRow.at.desc())
        .limit(1)
    )
    if accounts is not None:
        wanted = wanted.where(PositionRow.account.in_(accounts))
    if provider is not None:
        wanted = wanted.where(PositionRow.provider == provider)
    if since is not None:
        wanted = wanted.where(PositionRow.at >= since)
    return (await session.scalars(wanted)).one_or_none()
