"""Single reports and pages of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.caller import EVERYTHING, Reach
from app.ids import instant_of
from app.storage.database import Database
from app.storage.reports import statements
from app.storage.reports.filters import ReportCursor, ReportFilter
from app.storage.reports.records import ReportRecord, to_record
from app.storage.reports.statements import Statement
from app.storage.spans import FAR_FUTURE, FAR_PAST, backwards, forwards

_FIRST_LOOK = timedelta(days=7)
_NEXT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPage:
    """Some reports, in the order asked for.

    Attributes:
        next: Where the next page begins; None at the end. There may be a next page even when this one is short.
    """

    reports: Sequence[ReportRecord] = ()
    next: ReportCursor | None = None


async def page(
    database: Database,
    wanted: ReportFilter,
    *,
    after: ReportCursor | None = None,
    limit: int = 100,
    most_scanned: int = statements.MOST_SCANNED,
) -> ReportPage:
    """Read the page of reports that comes after a cursor.

    Args:
        limit: How many reports at most.
        most_scanned: How many reports to look through at most when no index leads to those that match.
    """
    if statements.is_by_arrival(wanted):
        dense = await _page(database, statements.timely(wanted), after, limit, most_scanned)
        untimely = await _read(database, statements.untimely(wanted, after, limit + 1))
        return _merge(dense, untimely, limit, oldest_first=wanted.oldest_first)
    return await _page(database, wanted, after, limit, most_scanned)


async def _page(
    database: Database, wanted: ReportFilter, after: ReportCursor | None, limit: int, most_scanned: int
) -> ReportPage:
    if statements.is_scan(wanted):
        found = await _read(database, statements.page(wanted, after, limit + 1, most_scanned))
        if len(found) <= limit:
            cursors = await database.fetch(*statements.scanned_to(wanted, after, most_scanned))
            return ReportPage(reports=found, next=ReportCursor(*cursors[0].values()) if cursors else None)
    else:
        found = await _read_along_index(database, wanted, after, limit + 1)
    if len(found) <= limit:
        return ReportPage(reports=found)
    return ReportPage(reports=found[:limit], next=_cursor_of(found[limit - 1]))


def _merge(dense: ReportPage, untimely: Sequence[ReportRecord], limit: int, *, oldest_first: bool) -> ReportPage:
    """Put untimely reports among those of a page; what lies beyond its end is for the next one."""
    if (end := dense.next) is not None:
        untimely = [one for one in untimely if (_cursor_of(one) <= end if oldest_first else _cursor_of(one) >= end)]
    found = sorted([*dense.reports, *untimely], key=_cursor_of, reverse=not oldest_first)
    if len(found) <= limit:
        return ReportPage(reports=found, next=dense.next)
    return ReportPage(reports=found[:limit], next=_cursor_of(found[limit - 1]))


async def _read_along_index(
    database: Database, wanted: ReportFilter, after: ReportCursor | None, limit: int
) -> list[ReportRecord]:
    """Read reports span by span until there are enough: each partition has an index of its own, to be opened."""
    found: list[ReportRecord] = []
    for since, until in _spans(wanted, after):
        found += await _read(database, statements.page(replace(wanted, since=since, until=until), after, limit))
        if len(found) >= limit:
            break
    return found[:limit]


def _spans(wanted: ReportFilter, after: ReportCursor | None) -> Iterable[tuple[datetime, datetime]]:
    since, until = wanted.since or FAR_PAST, wanted.until or FAR_FUTURE
    if not wanted.oldest_first:
        if after is not None and after.at < until:
            until = after.at + _NEXT
        return backwards(since, until, near=datetime.now(UTC), first=_FIRST_LOOK)
    if after is not None:
        since = max(since, after.at)
    # Nobody knows where the oldest report is without looking everywhere.
    return [(since, until)] if since == FAR_PAST else forwards(since, until, first=_FIRST_LOOK)


def _cursor_of(report: ReportRecord) -> ReportCursor:
    return ReportCursor(report.at, report.id)


async def _read(database: Database, statement: Statement) -> list[ReportRecord]:
    return [to_record(row.values()) for row in await database.fetch(*statement)]


async def find(database: Database, report_id: UUID, *, reach: Reach = EVERYTHING) -> ReportRecord | None:
    """Find a report within reach by its id alone, which also determines its partition."""
    rows = await database.fetch(*statements.one(instant_of(report_id), report_id, reach))
    return to_record(rows[0].values()) if rows else None
