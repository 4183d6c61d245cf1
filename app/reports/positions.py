"""Where devices are: the latest position of one, and of all."""

from datetime import UTC, datetime

from app.access import Actor, AuditLog
from app.caller import Reach
from app.identifiers import readings
from app.reports.audited import record_read
from app.storage import reports
from app.storage.database import Database
from app.storage.reports import Box, Holder, Positions, ReportRecord


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
