"""Single reports and pages of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.caller import EVERYTHING, Reach
from app.storage.database import Database
from app.storage.reports import statements
from app.storage.reports.filters import Place, ReportFilter
from app.storage.reports.records import ReportRecord
from app.storage.reports.statements import Statement
from app.storage.rows import EPOCH, instant_of

_FIRST_LOOK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some reports, newest first.

    Attributes:
        next: Where the next page begins; None at the end. There may be a next page even when this one is short.
    """

    reports: Sequence[ReportRecord] = ()
    next: Place | None = None


async def page(
    database: Database,
    wanted: ReportFilter,
    *,
    after: Place | None = None,
    limit: int = 100,
    most_scanned: int = statements.MOST_SCANNED,
) -> Page:
    """Read the page of reports that comes after a place.

    Args:
        limit: How many reports at most.
        most_scanned: How many reports to look through at most when no index leads to those that match.
    """
    if statements.is_scan(wanted):
        found = await _read(database, statements.page(wanted, after, limit + 1, most_scanned))
        if len(found) <= limit:
            places = await database.fetch(*statements.scanned_to(wanted, after, most_scanned))
            return Page(reports=found, next=Place(*places[0].values()) if places else None)
    else:
        found = await _read_along_index(database, wanted, after, limit + 1)
    if len(found) <= limit:
        return Page(reports=found)
    last = found[limit - 1]
    return Page(reports=found[:limit], next=Place(last.at, last.id))


async def _read_along_index(
    database: Database, wanted: ReportFilter, after: Place | None, limit: int
) -> list[ReportRecord]:
    """Read reports of the last days before the page's beginning, and only when these are too few, of all days.

    Every day is a partition with an index of its own, to be opened even where it has nothing to give.
    """
    begin = after.at if after else wanted.until or datetime.now(UTC)
    recently = max(begin, EPOCH) - _FIRST_LOOK
    if wanted.since is None or wanted.since < recently:
        found = await _read(database, statements.page(replace(wanted, since=recently), after, limit))
        if len(found) == limit:
            return found
    return await _read(database, statements.page(wanted, after, limit))


async def _read(database: Database, statement: Statement) -> list[ReportRecord]:
    return [ReportRecord._make(row.values()) for row in await database.fetch(*statement)]


async def find(database: Database, report_id: UUID, *, reach: Reach = EVERYTHING) -> ReportRecord | None:
    """Find a report within reach by its id alone, which also tells its partition."""
    rows = await database.fetch(*statements.one(instant_of(report_id), report_id, reach))
    return ReportRecord._make(rows[0].values()) if rows else None
