"""What was billed: fixes over the network, by account and day of the simulator's time."""

from collections import Counter
from datetime import date, datetime

from app.simulator.state import State

ALLOWANCE = 5000
"""Fixes a month that an account has bought."""


class BilledFixes:
    """Counts the fixes of every account; a fix from the cache is free."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._days: Counter[tuple[str, date]] = Counter()

    def bill(self, account: str, at: datetime) -> None:
        """Count one fix that was made at that instant."""
        self._days[account, at.date()] += 1
        self._state.counters.add("thingspace.fixes.billed")

    def between(self, account: str, first: date, last: date) -> int:
        """Return how many fixes of an account were billed on these days, the last one included."""
        return sum(count for (owner, day), count in self._days.items() if owner == account and first <= day <= last)
