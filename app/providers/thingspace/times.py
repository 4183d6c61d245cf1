"""ThingSpace's times (reference, section 3.3)."""

import re
from datetime import UTC, datetime, timedelta, timezone

from app.instants import read_instant
from app.plausibility import FIRST_FIX
from app.providers.thingspace.reading import text

_FARTHEST_MINUTES = 14 * 60
_CLOCK = re.compile(r"[+-]?(?:(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d)|(?P<h4>\d{2})(?P<m4>[0-5]\d))")
_HOURS = re.compile(r"[+-]\d{1,2}")
_MINUTES = re.compile(r"[+-]?\d{1,3}")


def to_instant(value: object, offset: object = None) -> tuple[datetime | None, bool]:
    """Read a time, local at `offset` where it has none of its own; say too whether the offset was understood.

    Documented are `YYYYMMDDhhmmss` and Go's text. An unreadable offset counts as none, so that the position that
    carries it is not lost.
    """
    written = text(value)
    if written is None:
        return None, True
    zone = to_offset(offset)
    at = read_instant(written, zone=zone or UTC)
    return (at if at is not None and at >= FIRST_FIX else None), zone is not None


def to_offset(value: object) -> timezone | None:
    """Read `+hhmm`, `+hh:mm`, `+hh` and bare minutes; UTC when there is none, None when it is unreadable.

    Four digits are hours and minutes; up to three digits are minutes, or hours when there are two and a sign.
    """
    if value is None or (written := text(value)) is None:
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
