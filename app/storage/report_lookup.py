"""Looks many reports up by their keys at once."""

from collections.abc import Collection
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Uuid, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.storage.tables import ReportRow

Key: TypeAlias = tuple[datetime, UUID]


async def reports_at(session: AsyncSession, keys: Collection[Key]) -> dict[Key, ReportRow]:
    """Fetch the reports with these keys; what is not there is left out."""
    if not keys:
        return {}
    # Arrays instead of a list of pairs: the statement stays the same, and each report is looked up in its partition.
    wanted = (
        func.unnest(
            literal([at for at, _ in keys], ARRAY(DateTime(timezone=True))),
            literal([report_id for _, report_id in keys], ARRAY(Uuid())),
        )
        .table_valued("at", "id")
        .render_derived("wanted")
    )
    # `reports.statements.looked_up` does the same in SQL, and says why the id is not simply compared.
    following = select(ReportRow).where(ReportRow.at == wanted.c.at, ReportRow.id >= wanted.c.id)
    report = aliased(ReportRow, following.order_by(ReportRow.id).limit(1).lateral())
    rows = select(report).select_from(wanted).join(report, report.id == wanted.c.id)
    return {(row.at, row.id): row for row in await session.scalars(rows)}
