"""Sessions and their devices as they are read: plain values, whose members are columns of the tables."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.storage.tables import SessionDeviceRow, SessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One row of `sessions`, as `tables.SessionRow` describes it."""

    id: UUID
    provider: str
    account: str
    state: str
    transaction_id: str | None
    interval_s: int
    count: int | None
    start_delay_s: int
    max_age_s: int
    devices_total: int
    created_at: datetime
    started_at: datetime | None
    ends_at: datetime | None
    ended_at: datetime | None
    stop_requested_at: datetime | None
    problem: dict[str, Any] | None

    @classmethod
    def of(cls, row: SessionRow) -> "SessionRecord":
        """Copy a mapped row."""
        return cls(**{member.name: getattr(row, member.name) for member in fields(cls)})


class SessionDeviceRecord(NamedTuple):
    """One row of `session_devices`, as `tables.SessionDeviceRow` describes it."""

    session_id: UUID
    device: str
    mdn: str | None
    received: int
    failed: int
    stop_requested_at: datetime | None
    stopped_at: datetime | None
    ended_at: datetime | None
    stop_failed_at: datetime | None

    @classmethod
    def of(cls, row: SessionDeviceRow) -> "SessionDeviceRecord":
        """Copy a mapped row."""
        return cls._make(getattr(row, name) for name in cls._fields)
