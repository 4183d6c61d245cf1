"""Time limits and repetitions of calls to providers."""

import asyncio
import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

import httpx
import stamina

from app.errors import ProviderError, ProviderThrottled, ProviderTimeout, ProviderUnavailable
from app.model import Deadline, ProviderName

T = TypeVar("T")

_LONGEST_RETRY_AFTER_S = 3600.0
"""The longest wait that is believed, in seconds: one mistyped header must not end the service for good."""
_FAIR_TRIAL_S = 10.0
"""With less time than this, a missing answer proves nothing about the provider."""


@asynccontextmanager
async def within(deadline: Deadline, provider: ProviderName, *, limit_s: float | None = None) -> AsyncIterator[None]:
    """Bound the block by the deadline, and by `limit_s` when that is shorter; bounds waiting for a connection too.

    Raises:
        ProviderTimeout: The time ran out; whether the provider had the request is not known.
    """
    left_s = deadline.left_s()
    try:
        async with asyncio.timeout(left_s if limit_s is None else min(left_s, limit_s)):
            yield
    except TimeoutError as error:
        late = ProviderTimeout("No answer came in time.", provider=provider, may_have_been_received=True)
        late.is_hasty = left_s < min(_FAIR_TRIAL_S, limit_s or _FAIR_TRIAL_S)
        raise late from error


def retry_after_s(
    response: httpx.Response, *, now: datetime | None = None, longest_s: float = _LONGEST_RETRY_AFTER_S
) -> float | None:
    """Read `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3); None when absent or unreadable.

    Never more than `longest_s`, by default an hour, whatever the header asks for.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return min(float(value), longest_s)
    try:
        then = email.utils.parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, (then - (now or datetime.now(UTC))).total_seconds()), longest_s)


def was_declined(response: httpx.Response) -> bool:
    """Return whether an error answer proves that the request was not carried out, so that it may be sent again.

    Only 429 and a 503 that names a time to come back do. The reference of ThingSpace (section 10.5) would repeat
    after 502, 503 and 504 as well, but each of them can come from a proxy whose connection to the service ended after
    the service had taken, and billed, the request.
    """
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return retry_after_s(response) is not None
    return response.status_code == httpx.codes.TOO_MANY_REQUESTS


def wait_for_turn_s(latest: Sequence[float], now: float, *, most: int, per_s: float) -> float:
    """Return how long something has to wait that may be done `most` times in `per_s` seconds.

    Args:
        latest: When it was done, in ascending order; times in the future come from a clock that was put back.
    """
    recent = [at for at in latest if now - per_s < at <= now]
    return recent[-most] + per_s - now if len(recent) >= most else 0.0


async def with_retries(call: Callable[[], Awaitable[T]], *, attempts: int, deadline: Deadline) -> T:
    """Await `call`, and repeat it with jittered backoff where the provider cannot have begun the work.

    Repeated are failures whose `may_have_been_received` is false and that are throttled or unavailable; a
    `Retry-After` is honoured when it ends before the deadline, else the failure is final.
    """

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, ProviderUnavailable | ProviderThrottled) or error.may_have_been_received:
            return False
        if error.retry_after_s is None:
            return deadline.left_s() > 0
        return error.retry_after_s if error.retry_after_s < deadline.left_s() else False

    # Retrying has a price of its own, so a call that succeeds at once never meets it.
    try:
        return await call()
    except ProviderError as error:
        if attempts <= 1 or wait(error) is False:
            raise
        failed = [error]
    async for attempt in stamina.retry_context(
        on=wait, attempts=attempts, timeout=deadline.left_s(), wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
    ):
        with attempt:
            if failed:
                raise failed.pop()
            return await call()
    raise AssertionError("stamina always returns or raises")
