"""The audit row about reports that were shown."""

from collections.abc import Sequence

from app.access import Actor, AuditLog
from app.storage.reports import ReportRecord


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
