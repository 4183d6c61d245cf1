"""One reader for the instants of vendors and callers: every unambiguous form. Pure.

RFC 3339 and its relatives, the vendors' `YYYYMMDDhhmmss`, Go's text, RFC 2822, and Unix time. What has two meanings
(`03/04/2026`), no time of day, or none at all is not guessed at.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

# After an offset, Go adds the name of the zone and its monotonic clock, and Java the name in brackets (RFC 9557).
_NAME = r"(?:\ (?:[A-Z]{1,5}|[+-]\d{2,4}))?(?:\ m=[+-]\d+\.\d+)?(?:\[[\w/+-]+\])?"
_ZONE = rf"(?:\ ?(?P<zone>Z|UTC?|GMT|[+-]\d\d(?::?\d\d)?){_NAME})?"
_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE | re.VERBOSE)
    for form in (
        # Without separators, twelve digits may be anything: the seconds have to be there.
        rf"""(?P<year>\d{{4}})(?P<month>\d\d)(?P<day>\d\d) (?:T|\ |)
        (?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))? {_ZONE}""",
        rf"""(?P<year>\d{{4}})(?P<mark>[-/])(?P<month>\d\d)(?P=mark)(?P<day>\d\d) [T\ ]
        (?P<hour>\d\d):(?P<minute>\d\d)(?: :(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)? {_ZONE}""",
        rf"""(?:[A-Z]{{3}},?\ )?(?P<day>\d{{1,2}})\ (?P<month>[A-Z]{{3}})\ (?P<year>\d{{4}})
        \ (?P<hour>\d\d):(?P<minute>\d\d)(?: :(?P<second>\d\d)(?P<fraction>)?)? {_ZONE}""",
    )
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_UNIX = re.compile(r"(?P<count>\d{9,19})(?:\.(?P<fraction>\d+))?", re.ASCII)
_UNIX_UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
_UNIX_FROM_S = 946_684_800
_UNIX_UNTIL_S = 4_102_444_800
"""Unix time counts from 2000 to 2100 only: there, seconds, milliseconds and what is finer never look alike."""
_LONGEST = 80


def to_text(at: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, with milliseconds only where there are some."""
    at = at.astimezone(UTC)
    text = at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def read_instant(written: str, *, zone: tzinfo | None = UTC) -> datetime | None:
    """Read an instant, in UTC; None when it cannot be read for certain.

    24:00:00 is the end of its day, and a second 60 the end of its minute.

    Args:
        zone: Where a time without an offset was local; None: without an offset it is not certain.
    """
    text = " ".join(written[: _LONGEST + 1].split())
    if not text or len(text) > _LONGEST:
        return None
    try:
        if unix := _UNIX.fullmatch(text):
            at = _to_unix(int(unix["count"]), unix["fraction"])
            if at is not None:
                return at
        found = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
        return None if found is None else _to_utc(found, zone)
    except (ValueError, OverflowError):
        return None


def _to_utc(found: re.Match[str], zone: tzinfo | None) -> datetime | None:
    local = _to_zone(found["zone"]) if found["zone"] else zone
    return None if local is None else _to_local(found, local).astimezone(UTC)


def _to_local(found: re.Match[str], zone: tzinfo) -> datetime:
    month = found["month"].lower()
    month_number = _MONTHS.index(month) + 1 if month.isalpha() else int(month)
    day = datetime(int(found["year"]), month_number, int(found["day"]), tzinfo=zone)
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    microsecond = _to_microseconds(found["fraction"])
    if (hour, minute, second, microsecond) == (24, 0, 0, 0):
        return day + timedelta(days=1)
    if second == 60:  # noqa: PLR2004 -- a leap second
        return day.replace(hour=hour, minute=minute, second=59) + timedelta(seconds=1)
    return day.replace(hour=hour, minute=minute, second=second, microsecond=microsecond)


def _to_zone(stated: str) -> timezone:
    if stated[0] not in "+-":
        return UTC
    digits = stated[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if stated[0] == "-" else offset)


def _to_unix(count: int, fraction: str | None) -> datetime | None:
    for per_second in _UNIX_UNITS:
        seconds, rest = divmod(count, per_second)
        if _UNIX_FROM_S <= seconds < _UNIX_UNTIL_S:
            finer = (rest * 1_000_000 + _to_microseconds(fraction)) // per_second
            return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=finer)
    return None


def _to_microseconds(fraction: str | None) -> int:
    return int((fraction or "")[:6].ljust(6, "0"))
