"""Reports as they are read: plain tuples, because a page of mapped objects costs more than its query."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.storage.tables import ReportRow


class ReportRecord(NamedTuple):
    """One row of `reports`; the members are its columns, as `tables.ReportRow` describes them."""

    at: datetime
    id: UUID
    provider: str
    type: str
    status: str
    account: str | None
    transaction_id: str | None
    session_id: UUID | None
    device: str
    device_kind: str | None
    mdn: str | None
    name: str | None
    latitude: float | None
    longitude: float | None
    accuracy_m: float | None
    confidence_pct: int | None
    source: str | None
    cached: bool | None
    error_type: str | None
    error_info: str | None
    error_at: datetime | None
    flags: list[str] | None
    kind_in_words: str | None
    received_at: datetime
    callback_id: UUID | None
    raw: str | None
    qos_met: bool | None

    @classmethod
    def of(cls, row: ReportRow) -> "ReportRecord":
        """Copy a mapped row."""
        return cls._make(getattr(row, name) for name in cls._fields)


COLUMNS = ", ".join(f"r.{name}" for name in ReportRecord._fields)
"""The columns in this order, of a table named `r`."""
