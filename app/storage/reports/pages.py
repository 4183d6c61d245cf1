"""Single reports and pages of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.reports.filters import Place, ReportFilter
from app.storage.reports.records import COLUMNS, REPORTS, ReportRecord
from app.storage.reports.selection import MOST_SCANNED, Selection, resolve
from app.storage.rows import instant_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some reports, newest first.

    Attributes:
        next: Where the next page begins; None at the end. There may be a next page even when this one is short.
    """

    reports: Sequence[ReportRecord] = ()
    next: Place | None = None


async def page(
    session: AsyncSession,
    wanted: ReportFilter,
    *,
    after: Place | None = None,
    limit: int = 100,
    most_scanned: int = MOST_SCANNED,
) -> Page:
    """Read the page of reports that comes after a place.

    Args:
        limit: How many reports at most.
        most_scanned: How many reports to look through at most when no index leads to those that match.
    """
    selection = await resolve(session, wanted)
    if selection is None:
        return Page()
    if selection.is_scan:
        selection = Selection(wanted=wanted, most_scanned=most_scanned)
    rows = await session.execute(selection.page(after, limit + 1))
    found = [ReportRecord._make(row) for row in rows]
    if len(found) > limit:
        last = found[limit - 1]
        return Page(reports=found[:limit], next=Place(last.at, last.id))
    return Page(reports=found, next=await _scanned_to(session, selection, after) if selection.is_scan else None)


async def find(session: AsyncSession, report_id: UUID) -> ReportRecord | None:
    """Find a report by its id alone, which also tells its partition."""
    found = select(*COLUMNS).where(REPORTS.c.at == instant_of(report_id), REPORTS.c.id == report_id)
    row = (await session.execute(found)).one_or_none()
    return None if row is None else ReportRecord._make(row)


async def _scanned_to(session: AsyncSession, selection: Selection, after: Place | None) -> Place | None:
    row = (await session.execute(selection.scanned_to(after))).one_or_none()
    return None if row is None else Place(*row)
