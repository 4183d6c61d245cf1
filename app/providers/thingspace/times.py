"""ThingSpace's times (reference, section 3.3)."""

import re
from datetime import UTC, datetime, timedelta, timezone

from app.providers.thingspace.reading import text

_COMPACT = 14
_FARTHEST_MINUTES = 14 * 60
_CLOCK = re.compile(r"[+-]?(?:(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d)|(?P<h4>\d{2})(?P<m4>[0-5]\d))")
_HOURS = re.compile(r"[+-]\d{1,2}")
_MINUTES = re.compile(r"[+-]?\d{1,3}")


def to_instant(value: object, offset: object = None) -> tuple[datetime | None, bool]:
    """Read `YYYYMMDDhhmmss`, local at `offset`; say too whether the offset was understood.

    An unreadable offset counts as none, so that the position that carries it is not lost.
    """
    written = text(value)
    if written is None:
        return None, True
    zone = to_offset(offset)
    understood = zone is not None
    try:
        return _to_utc(written, zone or UTC), understood
    except (ValueError, OverflowError):
        return None, understood


def _to_utc(written: str, zone: timezone) -> datetime:
    if len(written) == _COMPACT and written.isascii() and written.isdigit():
        local = datetime(
            int(written[0:4]),
            int(written[4:6]),
            int(written[6:8]),
            int(written[8:10]),
            int(written[10:12]),
            int(written[12:14]),
            tzinfo=zone,
        )
        return local if zone is UTC else local.astimezone(UTC)
    if len(written) <= _COMPACT:
        raise ValueError("too short for a time")
    stated = datetime.fromisoformat(written)
    return (stated if stated.tzinfo else stated.replace(tzinfo=zone)).astimezone(UTC)


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
