"""The latest fixes of devices, by fix time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.report_lookup import reports_at
from app.storage.tables import PositionRow, ReportRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A device whose latest fix is wanted.

    Attributes:
        keys: Device keys under which the device may stand.
        since: Only fixes at or after this instant.
        accounts: Only fixes obtained for these accounts; empty text stands for none.
        provider: Only fixes of this provider.
    """

    keys: Sequence[str]
    since: datetime
    accounts: Sequence[str] | None = None
    provider: str | None = None

    def admits(self, position: PositionRow) -> bool:
        """Return whether a position of one of the keys may be the answer."""
        return (
            position.at >= self.since
            and (self.accounts is None or position.account in self.accounts)
            and (self.provider is None or position.provider == self.provider)
        )


async def latest(session: AsyncSession, asked: Sequence[Wanted]) -> list[ReportRow | None]:
    """Find the reports with the latest fixes, in the order asked; two statements, however many are asked for."""
    keys = {key for one in asked for key in one.keys}
    recent = select(PositionRow).where(PositionRow.device.in_(keys), PositionRow.at >= min(one.since for one in asked))
    by_key: dict[str, list[PositionRow]] = {}
    for position in await session.scalars(recent):
        by_key.setdefault(position.device, []).append(position)
    found = [_newest(one, by_key) for one in asked]
    reports = await reports_at(session, [(one.at, one.report_id) for one in found if one is not None])
    return [None if position is None else reports.get((position.at, position.report_id)) for position in found]


def _newest(wanted: Wanted, by_key: dict[str, list[PositionRow]]) -> PositionRow | None:
    known = [position for key in wanted.keys for position in by_key.get(key, ()) if wanted.admits(position)]
    return max(known, key=lambda position: position.at, default=None)
