"""Looks reports up by their key within larger queries."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import SQLCoreOperations

from app.storage.tables import ReportRow


def looked_up(at: SQLCoreOperations[Any], report_id: SQLCoreOperations[Any]) -> tuple[type[ReportRow], Any]:
    """Make what is joined to find the report with a key, and the condition of the join.

    See `reports.statements.looked_up`, which does the same in SQL, for why it is not simply compared.
    """
    following = select(ReportRow).where(ReportRow.at == at, ReportRow.id >= report_id).order_by(ReportRow.id).limit(1)
    report = aliased(ReportRow, following.lateral())
    return report, report.id == report_id
