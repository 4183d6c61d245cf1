"""Ids: ULIDs, which begin with their time; 26 characters outside, UUIDs or hexadecimal digits inside."""

from datetime import UTC, datetime
from random import Random
from time import time_ns
from uuid import UUID

from ulid import ULID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Two characters at a time: every request has a new id, and every report of a page shows several.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)
_dice = Random()  # noqa: S311 -- ids have to differ, not to be hard to guess; the system's own dice cost a call each


def milliseconds(at: datetime) -> int:
    """Count milliseconds since 1970, rounded."""
    return round(at.timestamp() * 1000)


def from_milliseconds(count: int) -> datetime:
    """Turn milliseconds since 1970 into an instant."""
    return datetime.fromtimestamp(count / 1000, UTC)


def new_id(at: datetime) -> ULID:
    """Make a new, time-ordered id for something that happened `at`."""
    return ULID.from_hex(new_digits(milliseconds(at)))


def new_digits(at_ms: int) -> str:
    """Make the hexadecimal digits of a new ULID.

    Args:
        at_ms: The time that the id begins with, milliseconds since 1970.
    """
    return (at_ms << 80 | _dice.getrandbits(80)).to_bytes(16, "big").hex()


def instant_of(key: UUID | ULID) -> datetime:
    """Read the instant that an id was made of, to the millisecond."""
    return from_milliseconds(int.from_bytes(key.bytes[:6], "big"))


def public_id(key: UUID) -> str:
    """Write an id as callers see it: 26 characters of Crockford's base 32."""
    return _to_text(key.int)


def new_public_id() -> str:
    """Make a new id for something that happens now, as callers see it."""
    return _to_text(time_ns() // 1_000_000 << 80 | _dice.getrandbits(80))


def _to_text(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


def parse_id(text: str) -> UUID | None:
    """Read an id that a caller sent; None if it is none."""
    try:
        key = UUID(bytes=ULID.from_str(text.upper()).bytes)
        instant_of(key)
    except (ValueError, OverflowError):
        return None
    return key
