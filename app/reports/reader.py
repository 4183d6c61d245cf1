"""Reports by filter, as pages and as exports; one report with its source; and where devices are."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.access import Actor, AuditLog
from app.caller import Reach
from app.errors import NotFound
from app.identifiers import readings
from app.storage import callbacks, reports
from app.storage.callbacks import StoredCallback
from app.storage.database import Database
from app.storage.reports import Box, Holder, Positions, ReportCursor, ReportFilter, ReportPage, ReportRecord

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

    async def page(
        self, wanted: ReportFilter, by: Actor, *, after: ReportCursor | None = None, limit: int = PAGE
    ) -> ReportPage:
        """Read a page of the reports that match.

        Raises:
            Unavailable: The database cannot be reached.
        """
        page = await reports.page(self._database, wanted, after=after, limit=limit)
        record_read(self._audit, by, page.reports)
        return page

    async def export(
        self,
        wanted: ReportFilter,
        by: Actor,
        *,
        media_type: str,
        after: ReportCursor | None = None,
        limit: int | None = None,
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
        # A callback may be about other devices, too.
        if (callback := report.callback_id) is not None and reach.devices is None:
            source = await self._database.read(lambda db: callbacks.find(db, callback, reach))
        record_read(self._audit, by, [report], report_id=key.hex)
        return ReportWithSource(report=report, callback=source)


def record_read(audit: AuditLog, by: Actor, found: Sequence[ReportRecord], *, report_id: str | None = None) -> None:
    """Queue an audit row about reports that are shown; it names their device and account if they have only one."""
    if not found:
        return
    devices, accounts = {report.device for report in found}, {report.account for report in found}
    audit.record(
        by,
        "reports.read",
        "shown",
        account=found[0].account if len(accounts) == 1 else None,
        device=found[0].device if len(devices) == 1 else None,
        report_id=report_id,
        subject=f"{len(found)} reports of {len(devices)} devices",
    )


class PositionReader:
    """Reads the latest positions of devices; no provider is asked."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    async def latest(self, identifier: str, by: Actor, *, reach: Reach) -> ReportRecord | None:
        """Find the report with the latest fix of a device, by any of its identifiers or the caller's name for it."""
        # No text in the database holds a NUL, and none may be sent to it.
        known = readings(identifier.replace("\x00", ""))
        report = None
        if known.mdn is not None:
            report = await reports.latest_of_mdn(self._database, known.mdn, datetime.now(UTC), reach=reach)
        if report is None:
            report = await reports.latest_of_device(self._database, known, reach=reach)
        if report is not None:
            self._record(report, by)
        return report

    def _record(self, report: ReportRecord, by: Actor) -> None:
        self._audit.record(
            by,
            "position.read",
            "located",
            account=report.account,
            device=report.device,
            provider=report.provider,
            report_id=report.id.hex,
        )

    async def page(
        self, by: Actor, *, reach: Reach, box: Box | None, account: str | None, after: Holder | None, limit: int
    ) -> Positions:
        """Read the latest positions of the devices that come after one, in an order that holds while devices move."""
        found = await reports.positions_page(
            self._database, box=box, account=account, after=after, limit=limit, reach=reach
        )
        record_read(self._audit, by, found.reports)
        return found
