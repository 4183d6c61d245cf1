"""Where ThingSpace's words about a device become ours; pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from app.instants import read_instant
from app.model import Fix, ReportError
from app.plausibility import FIRST_FIX, TIME_UNREADABLE, ZERO_ACCURACY, ZERO_ISLAND, is_zero_island
from app.providers.thingspace import reading
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.wire import ErrorReply, PositionData, Scalar

LONGEST_IDENTIFIER = 128
_LONGEST_WORDS = 500
_LARGEST_RADIUS_M = 20_040_000.0
FARTHEST_NORTH = 90.0
FARTHEST_EAST = 180.0
_FARTHEST_MINUTES = 14 * 60
_CLOCK = re.compile(r"[+-]?(?:(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d)|(?P<h4>\d{2})(?P<m4>[0-5]\d))")
_HOURS = re.compile(r"[+-]\d{1,2}")
_MINUTES = re.compile(r"[+-]?\d{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a position object came to.

    Attributes:
        fix: The position; None where there is none that can be believed.
        said_at: Its time as ThingSpace states it; None when it states none that can be read.
        flags: What is odd about it.
    """

    fix: Fix | None = None
    said_at: datetime | None = None
    flags: tuple[str, ...] = ()


def latitude_longitude(position: PositionData) -> tuple[float | None, float | None]:
    """Take latitude and longitude: ThingSpace calls the latitude `x` and the longitude `y`."""
    return reading.number(position.x), reading.number(position.y)


def to_sighting(position: PositionData, *, cached: bool, now: datetime) -> Sighting:
    """Read a position; one without a readable time gets `now`, so that it is not lost.

    ThingSpace states 0/0 where it has no position.
    """
    latitude_deg, longitude_deg = latitude_longitude(position)
    said_at, offset_understood = to_instant(position.time, position.utcoffset)
    flags = () if offset_understood else ("offset_unreadable",)
    is_placed = latitude_deg is not None and longitude_deg is not None
    if said_at is None and (is_placed or position.time is not None):
        flags = (*flags, TIME_UNREADABLE)
    if latitude_deg is None or longitude_deg is None:
        flags = flags if position.x is None and position.y is None else (*flags, "position_unreadable")
        return Sighting(said_at=said_at, flags=flags)
    if abs(latitude_deg) > FARTHEST_NORTH or abs(longitude_deg) > FARTHEST_EAST:
        return Sighting(said_at=said_at, flags=(*flags, _why_out_of_range(latitude_deg, longitude_deg)))
    if is_zero_island(latitude_deg, longitude_deg):
        return Sighting(said_at=said_at, flags=(*flags, ZERO_ISLAND))
    if reading.number(position.radius) == 0:
        flags = (*flags, ZERO_ACCURACY)
    fix = Fix(
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        accuracy_m=to_accuracy_m(position.radius),
        confidence_pct=None,
        fixed_at=said_at or now,
        source="network",
        provider=NAME,
        cached=cached,
        qos_met=reading.boolean(position.qos),
    )
    return Sighting(fix=fix, said_at=said_at, flags=flags)


def _why_out_of_range(latitude_deg: float, longitude_deg: float) -> str:
    swapped = abs(latitude_deg) <= FARTHEST_EAST and abs(longitude_deg) <= FARTHEST_NORTH
    return "axes_swapped_suspected" if swapped else "position_out_of_range"


def to_accuracy_m(radius: Scalar) -> float | None:
    """Read a radius in metres; zero, absent and absurd ones are None."""
    found = reading.number(radius)
    return found if found is not None and 0 < found <= _LARGEST_RADIUS_M else None


def to_report_error(failure: ErrorReply | None) -> ReportError | None:
    """Read an error object; an empty one is none."""
    if failure is None:
        return None
    type_, info = words(failure.type), words(failure.info)
    at, _ = to_instant(failure.time, failure.utcoffset)
    return ReportError(type=type_, info=info, at=at) if type_ or info or at else None


def says_why(error: ReportError | None) -> bool:
    """Return whether an error has any words; a time alone is no reason to doubt the position beside it."""
    return error is not None and (error.type is not None or error.info is not None)


def words(value: Scalar) -> str | None:
    """Read a vendor's words, at most 500 characters of them."""
    found = reading.text(value)
    return found[:_LONGEST_WORDS] if found else None


def to_instant(value: object, offset: object = None) -> tuple[datetime | None, bool]:
    """Read a time, local at `offset` where it has none of its own; return too whether the offset was understood.

    Documented (reference, section 3.3) are `YYYYMMDDhhmmss` and Go's text. An unreadable offset counts as none, so that
    the position that carries it is not lost.
    """
    written = reading.text(value)
    if written is None:
        return None, True
    zone = to_offset(offset)
    at = read_instant(written, zone=zone or UTC)
    return (at if at is not None and at >= FIRST_FIX else None), zone is not None


def to_offset(value: object) -> timezone | None:
    """Read `+hhmm`, `+hh:mm`, `+hh` and bare minutes; UTC when there is none, None when it is unreadable.

    Four digits are hours and minutes; up to three digits are minutes, or hours when there are two and a sign.
    """
    if value is None or (written := reading.text(value)) is None:
        return UTC
    if written.upper() in {"Z", "UTC"}:
        return UTC
    minutes = _offset_minutes(written)
    if minutes is None or abs(minutes) > _FARTHEST_MINUTES:
        return None
    return timezone(timedelta(minutes=minutes)) if minutes else UTC


def _offset_minutes(written: str) -> int | None:
    if found := _CLOCK.fullmatch(written):
        minutes = int(found["hours"] or found["h4"]) * 60 + int(found["minutes"] or found["m4"])
        return -minutes if "-" in written else minutes
    if _HOURS.fullmatch(written):
        return int(written) * 60
    return int(written) if _MINUTES.fullmatch(written) else None
