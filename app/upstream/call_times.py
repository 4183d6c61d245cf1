"""How long a provider's calls take, so that none is begun that cannot end in time."""

import time
from collections import deque
from collections.abc import Callable

from app.errors import TimeTooShort
from app.model import Deadline, ProviderName

_SHORTEST_S = 0.1
"""No provider on the internet answers much faster."""
_REMEMBERED = 16
_RECENT_S = 60.0
"""After a minute without calls one is made in any case, and shows whether the provider has become faster."""
_EXPECTED_S = 5.0
_EXPECTED_UNKNOWN_S = 15.0
"""How long a call is expected to take at most: at least, and while nothing is known."""
_ENOUGH = 3
"""How many calls are needed to judge: a single slow one proves little."""


class CallTimes:
    """The durations of the latest calls of one kind."""

    def __init__(self, provider: ProviderName, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._provider = provider
        self._clock = clock
        self._latest: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._slowest_s = _SHORTEST_S

    def add(self, duration_s: float) -> None:
        """Note how long a call took that was answered."""
        self._latest.append((self._clock(), duration_s))
        self._slowest_s = max(self._slowest_s, duration_s)

    @property
    def shortest_s(self) -> float:
        """How long a call takes at least, as far as the latest ones show."""
        recent = self._recent()
        return max(_SHORTEST_S, min(recent)) if len(recent) >= _ENOUGH else _SHORTEST_S

    @property
    def longest_s(self) -> float:
        """How long the slowest of the latest calls took; 0 when there were none."""
        return max(self._recent(), default=0.0)

    @property
    def expected_s(self) -> float:
        """How long a call may take before it is odd: twice as long as the slowest of the latest ones."""
        return max(_EXPECTED_S, 2 * self.longest_s) if self.longest_s else _EXPECTED_UNKNOWN_S

    def check(self, deadline: Deadline) -> None:
        """Refuse to begin a call that cannot end before the deadline.

        Raises:
            TimeTooShort: It cannot.
        """
        left_s = deadline.left_s()
        # Nearly always there is plenty of time, and nothing to look up.
        if left_s >= self._slowest_s:
            return
        shortest_s = self.shortest_s
        if left_s < shortest_s:
            raise TimeTooShort(
                f"Too little time was left to ask: a call takes {shortest_s:.1f} s and more. Nothing was billed; "
                "send a longer timeout.",
                provider=self._provider,
            )

    def _recent(self) -> list[float]:
        since = self._clock() - _RECENT_S
        return [duration_s for ended_at, duration_s in self._latest if ended_at >= since]
