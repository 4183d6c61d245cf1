"""The database's time, which decides wherever replicas have to agree: what is old, expired, or sent a second time."""

from datetime import UTC, datetime, timedelta
from time import monotonic, time_ns

TOLERATED_SKEW = timedelta(minutes=1)
"""How far this machine's clock may be off before nothing is deleted by it."""

_IGNORED_MS = 1000
"""Less than this is mostly the way to the database and back; correcting it would only make times jump."""


class DatabaseClock:
    """The database's time: this machine's clock, corrected by how far it was off when the two were last compared."""

    def __init__(self) -> None:
        self._skew_ms = 0
        self._correction_ms = 0
        self._began_at = monotonic()

    @property
    def skew(self) -> timedelta:
        """How far this machine's clock is ahead of the database's; negative when it is behind."""
        return timedelta(milliseconds=self._skew_ms)

    def compare(self, database_time: datetime, *, asked_ms: int, answered_ms: int) -> None:
        """Take a reading of the database's clock.

        Args:
            asked_ms: This machine's clock before the reading, milliseconds since 1970.
            answered_ms: The same after it.
        """
        self._skew_ms = (asked_ms + answered_ms) // 2 - round(database_time.timestamp() * 1000)
        self._correction_ms = -self._skew_ms if abs(self._skew_ms) > _IGNORED_MS else 0

    def watched_for(self) -> timedelta:
        """Return how much time has passed since this clock was made, whatever any clock said meanwhile."""
        return timedelta(seconds=monotonic() - self._began_at)

    def now_ms(self) -> int:
        """Return the database's time in milliseconds since 1970."""
        return time_ns() // 1_000_000 + self._correction_ms

    def now(self) -> datetime:
        """Return the database's time."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)
