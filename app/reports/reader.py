"""Reports by filter, as pages and as exports, and one report with its source."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from uuid import UUID

from app.access import Actor, AuditLog
from app.caller import Reach
from app.errors import NotFound
from app.reports.audited import record_read
from app.storage import callbacks, reports
from app.storage.callbacks import StoredCallback
from app.storage.database import Database
from app.storage.reports import Page, Place, ReportFilter, ReportRecord

PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportWithSource:
    """A report and where it is from.

    Attributes:
        callback: None where there was none, it is no longer kept, or the caller may not see all of it.
    """

    report: ReportRecord
    callback: StoredCallback | None


class ReportReader:
    """Reads stored reports."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    async def page(self, wanted: ReportFilter, by: Actor, *, after: Place | None = None, limit: int = PAGE) -> Page:
        """Read a page of the reports that match.

        Raises:
            Unavailable: The database cannot be reached.
        """
        page = await reports.page(self._database, wanted, after=after, limit=limit)
        record_read(self._audit, by, page.reports)
        return page

    async def export(
        self, wanted: ReportFilter, by: Actor, *, media_type: str, after: Place | None = None, limit: int | None = None
    ) -> AsyncGenerator[list[ReportRecord], None]:
        """Read all reports that match, in batches; the audit row is committed before the first one.

        Raises:
            Unavailable, Overloaded: The audit row cannot be committed.
        """
        named = (wanted.device_id, wanted.mdn and f"mdn:{wanted.mdn}", wanted.name and f"name:{wanted.name}")
        device = next(filter(None, named), None)
        await self._audit.commit(
            by, "reports.export", "accepted", account=wanted.account, device=device, subject=media_type
        )
        return reports.export(self._database, wanted, after=after, limit=limit)

    async def find(self, key: UUID, by: Actor, *, reach: Reach) -> ReportWithSource:
        """Find one report within reach, with its source.

        Raises:
            NotFound: There is no such report.
        """
        report = await reports.find(self._database, key, reach=reach)
        if report is None:
            raise NotFound("There is no such report.")
        source = None
        # A callback may tell of other devices, too.
        if (callback := report.callback_id) is not None and reach.devices is None:
            source = await self._database.read(lambda db: callbacks.find(db, callback, reach))
        record_read(self._audit, by, [report], report_id=key.hex)
        return ReportWithSource(report=report, callback=source)
