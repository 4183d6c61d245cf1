"""Whether a fix may be believed: one rule for everything that would answer with it. Pure.

A report keeps whatever it says. A fix that carries one of the flags in `DOUBTS` is listed as it came, and is never a
latest position, satisfies no `maxAge`, and is no session's last fix. `app.storage.flags` has the same rule for SQL.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

ZERO_ISLAND: Final = "zero_island"
"""Latitude and longitude are both zero, which stands for "no position"; ThingSpace's reports then have no fix."""
ERROR_BESIDE_POSITION: Final = "error_beside_position"
"""The provider states an error beside the position, so it does not vouch for the position."""
TIME_UNREADABLE: Final = "time_unreadable"
"""No readable time is stated, so the age of the fix is unknown; its arrival dates it."""
FUTURE_TIME: Final = "future_time"
"""The stated time lies in the future."""
OTHER_ACCOUNT: Final = "account_mismatch"
"""It came to the callback address of another account than the one it names."""
AFTER_END: Final = "after_end"
"""It arrived after the end of its session."""
LATE: Final = "late"
"""It arrived long after its time, or after the end of its session; see `LATE_AFTER`."""
STALE: Final = "stale"
"""The fix was older than a day when it came; see `STALE_AFTER`. No doubt about a fix."""
ZERO_ACCURACY: Final = "zero_accuracy"
"""The provider states a circle of no size, which no position has. No doubt about a fix."""
IMPLAUSIBLE_SPEED: Final = "implausible_speed"
"""The device cannot have come here from its latest position before; see `FASTEST_M_PER_S`. No doubt about a fix, since
the other one may be the wrong one."""
GIVEN_UP: Final = "given_up"
"""The provider has dropped the device from its session, and reports on it no more; no doubt about a fix."""
IDENTIFIER_UNREADABLE: Final = "identifier_unreadable"
"""What stands for an identifier cannot be one; it is in the raw body alone. No doubt about a fix."""

DOUBTS = frozenset({ZERO_ISLAND, ERROR_BESIDE_POSITION, TIME_UNREADABLE, FUTURE_TIME, OTHER_ACCOUNT})
"""The flags of fixes that may not be believed."""

CLOCK_SKEW = timedelta(minutes=2)
"""How far ahead a stated time may be: the clocks of the network and of this machine differ by seconds, a wrong time
zone by at least fifteen minutes."""
LATE_AFTER = timedelta(hours=1)
"""From here on a callback is late: ThingSpace is done with its repetitions after about a quarter of an hour."""
STALE_AFTER = timedelta(days=1)
"""From this age on a fix is stale when it comes."""
FASTEST_M_PER_S = 340
"""Nothing that is located moves faster: the speed of sound; airliners stay below it."""
FIRST_FIX = datetime(2000, 1, 1, tzinfo=UTC)
"""No fix is older: clocks that were never set state 1970, 1980, or the year 1."""


def is_zero_island(latitude_deg: float, longitude_deg: float) -> bool:
    """Return whether a position is the placeholder 0/0, however the zeros were written."""
    return latitude_deg == longitude_deg == 0


def doubts_about_time(stated_at: datetime | None, now: datetime) -> tuple[str, ...]:
    """List the flags of a fix by the time that is stated for it; None where none can be read."""
    if stated_at is None:
        return (TIME_UNREADABLE,)
    return (FUTURE_TIME,) if stated_at > now + CLOCK_SKEW else ()


def may_be_believed(flags: Iterable[str]) -> bool:
    """Return whether a fix with these flags may be taken for where the device is."""
    return DOUBTS.isdisjoint(flags)
