"""When a delivery is tried again, when a receiver is left alone, and when it is given up. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

Dice = Callable[[], float]
"""Returns a number from 0 to 1."""

RETRIES_S = (5, 30, 120, 600, 3600, 3 * 3600, 8 * 3600, 24 * 3600, 24 * 3600)
"""How long after each failed attempt the next one is made; after the last one the delivery is dead."""
HOPELESS = timedelta(days=5)
"""A subscription without a success for this long is disabled."""

_JITTER = 0.2
_LONGEST_PAUSE_S = 600.0
_FAILURES_OF_A_RECEIVER = 10
"""When this many attempts in a row have failed, it is the receiver that fails, whatever it answers."""


def retry_in(failed: int, retry_after_s: float | None, dice: Dice) -> timedelta | None:
    """Return when to try a delivery again; None if it is dead.

    A receiver can ask for more time by `Retry-After`, and not for less: it would use up the attempts.

    Args:
        failed: Attempts that have failed, one at least.
    """
    if failed > len(RETRIES_S):
        return None
    return timedelta(seconds=max(_jittered(RETRIES_S[failed - 1], dice), retry_after_s or 0))


def pause_after(
    failures: int, pauses: int, *, is_busy: bool, retry_after_s: float | None, dice: Dice
) -> timedelta | None:
    """Return how long nothing at all is sent to a receiver; None if others' events go on.

    Args:
        failures: Attempts that have failed since the last success, the present one included.
        pauses: Pauses since then.
        is_busy: Whether the answer says that the receiver as a whole is in trouble.
    """
    if is_busy and retry_after_s is not None:
        return timedelta(seconds=retry_after_s)
    if is_busy or failures >= _FAILURES_OF_A_RECEIVER:
        return timedelta(seconds=_jittered(min(2.0 ** min(pauses, 16), _LONGEST_PAUSE_S), dice))
    return None


def is_hopeless(failing_since: datetime | None, now: datetime) -> bool:
    """Return whether a receiver has failed long enough to be given up."""
    return failing_since is not None and now - failing_since >= HOPELESS


def _jittered(seconds: float, dice: Dice) -> float:
    return seconds * (1 + _JITTER * (dice() - 0.5))
