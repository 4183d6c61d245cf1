"""How a token is granted or refused, and what the replicas share about it; pure."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from app.errors import ProviderError, ProviderMisconfigured
from app.model import Deadline
from app.providers.thingspace.settings import NAME
from app.upstream import wait_for_turn_s

_LONGEST_PAUSE_S = 30.0
_LONGEST_DICTATED_PAUSE_S = 300.0
"""However long ThingSpace asks not to be asked: every call needs a token, and so does learning that trouble is over."""
_MOST_REPLACED = 3
_REPLACED_WITHIN_S = 60.0
"""How many refused tokens are replaced in how many seconds; if fresh ones are refused, more would not help."""
_SKEW_S = 60.0  # tolerated clock skew between replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """A fresh token.

    Attributes:
        lasts_s: How long it lasts from now; None if not stated.
    """

    token: str
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """ThingSpace rejected the credentials.

    Attributes:
        times: How often; a login counts, too, when it was not clear which of its credentials was refused.
    """

    error: ProviderMisconfigured
    times: int = 1


Ask = Callable[[Deadline], Awaitable[TokenState | Rejection]]


class Record(msgspec.Struct, omit_defaults=True):
    """What the vault keeps of a token; times are seconds since 1970.

    Attributes:
        used_at: When it was last known to be accepted, by any replica, a few minutes ago at most.
        failures: Requests in a row whose outcome is unknown or an outage.
        failed_at: When the last of them failed.
        not_before: No request is made before that.
        replaced_at: When a token that ThingSpace refused was last replaced by another one.
    """

    token: str | None = None
    obtained_at: float = 0.0
    expires_at: float | None = None
    used_at: float = 0.0
    rejected: int = 0
    failures: int = 0
    failed_at: float = 0.0
    not_before: float = 0.0
    replaced_at: tuple[float, ...] = ()

    def cooldown_s(self, now: float) -> float:
        """Return how long no request may be made."""
        # A failure in the future was dated by a clock that was ahead, and has been put back since.
        if self.failed_at > now + _SKEW_S:
            return 0.0
        return max(0.0, min(self.not_before, self.failed_at + _LONGEST_DICTATED_PAUSE_S) - now)

    def drop(self, failed: str | None, now: float) -> float:
        """Forget the token if it is the one that was refused; return how long no other one may be requested."""
        if failed is None or self.token != failed:
            return 0.0
        self.token = None
        wait_s = wait_for_turn_s(self.replaced_at, now, most=_MOST_REPLACED, per_s=_REPLACED_WITHIN_S)
        if wait_s:
            self.failed_at, self.not_before = now, now + wait_s
        else:
            self.replaced_at = (*self.replaced_at[1 - _MOST_REPLACED :], now)
        return wait_s


def to_record(value: bytes | None) -> Record:
    """Read a record; one that cannot be read counts as empty."""
    try:
        return msgspec.json.decode(value or b"{}", type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Record()


def to_use_s(lasts_s: float) -> float:
    """Renew a little before the end; one that arrives expired is used for a second, or every call would request one."""
    return max(1.0, lasts_s - min(30.0, lasts_s / 10))


def to_pause_s(error: ProviderError, failures: int) -> float:
    """Return how long to wait after a failure that was no rejection; after a single outage not at all."""
    if error.retry_after_s is not None:
        return min(error.retry_after_s, _LONGEST_DICTATED_PAUSE_S)
    if failures == 1 and not error.may_have_been_received:
        return 0.0
    return min(_LONGEST_PAUSE_S, 0.25 * float(2 ** min(failures, 10)))


def to_place(name: str, credentials: bytes) -> str:
    """Name the place in the vault; other credentials have another one, and never disturb this one's count.

    Slow on purpose, so that the name does not help to guess a password.
    """
    salt = f"{NAME}/{name}".encode()
    return f"{name}-{hashlib.scrypt(credentials, salt=salt, n=2**12, r=8, p=1, dklen=10).hex()}"
