"""Filters of reports, in terms of the tables."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.caller import EVERYTHING, Reach
from app.model import ReportStatus, ReportType


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A bounding box in WGS 84 degrees, borders included; with `west_deg` > `east_deg` it spans the antimeridian."""

    west_deg: float
    south_deg: float
    east_deg: float
    north_deg: float

    @property
    def crosses_antimeridian(self) -> bool:
        """Whether longitude 180 lies inside."""
        return self.west_deg > self.east_deg


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFilter:
    """A filter of reports; None does not restrict, and all other conditions have to hold.

    Attributes:
        device_id: An IMEI, MEID or ESN; finds what came under its MDN alone, too.
        mdn: Finds reports that state this MDN, or none and come from a device that was seen with it.
        name: The caller's own name for a device, in its canonical form.
        session_id: Only reports of this periodic session.
        flag: Only reports that carry this flag.
        since: Of the fix or the error, included.
        until: Of the fix or the error, excluded.
        received_since: Of the arrival, included.
        received_until: Of the arrival, excluded.
        is_believed: Only reports whose fix, if they have one, may be believed (`app.plausibility`).
        oldest_first: The order, which goes by the time of the fix or the error.
        reach: What the reader may see at all.
    """

    transaction_id: str | None = None
    session_id: UUID | None = None
    device_id: str | None = None
    mdn: str | None = None
    name: str | None = None
    account: str | None = None
    type: ReportType | None = None
    status: ReportStatus | None = None
    flag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    received_since: datetime | None = None
    received_until: datetime | None = None
    box: Box | None = None
    is_believed: bool = False
    oldest_first: bool = False
    reach: Reach = EVERYTHING


class ReportCursor(NamedTuple):
    """A position in the order of reports: by time, and by id among those of one time."""

    at: datetime
    id: UUID
