"""Whether a fix may be believed: one rule for everything that would answer with it. Pure.

A report keeps whatever it says. A fix that carries one of the flags in `DOUBTS` is listed as it came, and is nobody's
latest position, satisfies no `maxAge`, and is no session's last fix.
"""

from collections.abc import Iterable
from typing import Final

ZERO_ISLAND: Final = "zero_island"
"""Latitude and longitude are both zero, which stands for "no position"; such a report has no fix."""
ERROR_BESIDE_POSITION: Final = "error_beside_position"
"""The provider states an error beside the position, so it does not vouch for the position."""

TIME_UNREADABLE: Final = "time_unreadable"
"""No time is stated that can be read, so nobody knows how old the fix is; its arrival dates it."""

GIVEN_UP: Final = "given_up"
"""The provider has dropped the device from its session, and reports on it no more; no doubt about a fix."""

OTHER_ACCOUNT: Final = "account_mismatch"
"""It came to the address of another account than it names, so nobody knows whose report it is."""

DOUBTS = frozenset({ZERO_ISLAND, ERROR_BESIDE_POSITION, TIME_UNREADABLE, OTHER_ACCOUNT})
"""The flags of fixes that may not be believed."""


def is_zero_island(latitude_deg: float, longitude_deg: float) -> bool:
    """Tell whether a position is the placeholder 0/0, however the zeros were written."""
    return latitude_deg == longitude_deg == 0


def may_be_believed(flags: Iterable[str]) -> bool:
    """Tell whether a fix with these flags may be taken for where the device is."""
    return DOUBTS.isdisjoint(flags)
