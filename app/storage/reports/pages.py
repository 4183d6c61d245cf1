"""Single reports and pages of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.caller import EVERYTHING, Reach
from app.ids import EPOCH, instant_of
from app.storage.database import Database
from app.storage.reports import statements
from app.storage.reports.filters import Place, ReportFilter
from app.storage.reports.records import ReportRecord, to_record
from app.storage.reports.statements import Statement

_FIRST_LOOK = timedelta(days=7)
_LAST_LOOK = datetime.max.replace(tzinfo=UTC) - _FIRST_LOOK


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some reports, in the order asked for.

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
    if statements.is_by_arrival(wanted):
        dense = await _page(database, statements.timely(wanted), after, limit, most_scanned)
        untimely = await _read(database, statements.untimely(wanted, after, limit + 1))
        return _merge(dense, untimely, limit, oldest_first=wanted.oldest_first)
    return await _page(database, wanted, after, limit, most_scanned)


async def _page(database: Database, wanted: ReportFilter, after: Place | None, limit: int, most_scanned: int) -> Page:
    if statements.is_scan(wanted):
        found = await _read(database, statements.page(wanted, after, limit + 1, most_scanned))
        if len(found) <= limit:
            places = await database.fetch(*statements.scanned_to(wanted, after, most_scanned))
            return Page(reports=found, next=Place(*places[0].values()) if places else None)
    else:
        found = await _read_along_index(database, wanted, after, limit + 1)
    if len(found) <= limit:
        return Page(reports=found)
    return Page(reports=found[:limit], next=_place_of(found[limit - 1]))


def _merge(dense: Page, untimely: Sequence[ReportRecord], limit: int, *, oldest_first: bool) -> Page:
    """Put untimely reports among those of a page; what lies beyond its end is for the next one."""
    if (end := dense.next) is not None:
        untimely = [one for one in untimely if (_place_of(one) <= end if oldest_first else _place_of(one) >= end)]
    found = sorted([*dense.reports, *untimely], key=_place_of, reverse=not oldest_first)
    if len(found) <= limit:
        return Page(reports=found, next=dense.next)
    return Page(reports=found[:limit], next=_place_of(found[limit - 1]))


async def _read_along_index(
    database: Database, wanted: ReportFilter, after: Place | None, limit: int
) -> list[ReportRecord]:
    """Read reports of the days at the page's beginning, and only when these are too few, of all days.

    Every day is a partition with an index of its own, which is opened even if it holds nothing.
    """
    nearby = _nearby(wanted, after)
    if nearby is not None:
        found = await _read(database, statements.page(nearby, after, limit))
        if len(found) == limit:
            return found
    return await _read(database, statements.page(wanted, after, limit))


def _nearby(wanted: ReportFilter, after: Place | None) -> ReportFilter | None:
    """Narrow the window down to some days at the page's beginning; None where it is narrow, or begins nowhere."""
    if not wanted.oldest_first:
        begin = after.at if after else wanted.until or datetime.now(UTC)
        since = max(begin, EPOCH) - _FIRST_LOOK
        return replace(wanted, since=since) if wanted.since is None or wanted.since < since else None
    begin_or_none = after.at if after else wanted.since
    if begin_or_none is None:
        return None
    until = min(begin_or_none, _LAST_LOOK) + _FIRST_LOOK
    return replace(wanted, until=until) if wanted.until is None or wanted.until > until else None


def _place_of(report: ReportRecord) -> Place:
    return Place(report.at, report.id)


async def _read(database: Database, statement: Statement) -> list[ReportRecord]:
    return [to_record(row.values()) for row in await database.fetch(*statement)]


async def find(database: Database, report_id: UUID, *, reach: Reach = EVERYTHING) -> ReportRecord | None:
    """Find a report within reach by its id alone, which also determines its partition."""
    rows = await database.fetch(*statements.one(instant_of(report_id), report_id, reach))
    return to_record(rows[0].values()) if rows else None
