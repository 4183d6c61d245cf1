"""A circuit breaker around a provider: after failures in a row it is left alone for a while.

Each process has its own, in memory, so that nothing outside can keep it open. When the cool-down is over, one request
at a time goes through as a probe; the first answer of any kind closes the breaker.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from app.errors import (
    GatewayError,
    OutcomeUnknown,
    ProviderError,
    ProviderMisconfigured,
    ProviderNotConfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    TimeTooShort,
    UnexpectedReply,
)
from app.model import AccountName, Deadline, Located, LocationQuery, Mdn, PeriodicPlan, ProviderName, TransactionId
from app.observability import metrics
from app.provider import Health, LocatesBy, Locator, Provider, Tracker

T = TypeVar("T")

_FAILURES = (ProviderUnavailable, ProviderTimeout, OutcomeUnknown, UnexpectedReply)
_SAYS_NOTHING = (ProviderNotConfigured, ProviderMisconfigured, ProviderThrottled)
_MAY_COOL_DOWN = frozenset({"ready", "failing", "cooling_down"})


class Breaker:
    """Counts the failures of one provider, and decides when not to call it."""

    def __init__(
        self, name: ProviderName, *, after: int, cooldown_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Make a closed breaker.

        Args:
            after: How many failures in a row open it.
            cooldown_s: How long it stays open before it is probed.
        """
        self._name = name
        self._after = after
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._is_probing = False
        self._gauge = metrics.COOLING_DOWN.labels(name)
        self._gauge.set(0)

    @property
    def cooldown_s(self) -> float | None:
        """Seconds until the next probe; None while it is closed."""
        return None if self._open_until is None else max(0.0, self._open_until - self._clock())

    def reset(self) -> None:
        """Close the breaker."""
        if self._open_until is not None:
            self._gauge.set(0)
        self._failures, self._open_until = 0, None

    async def call(
        self, ask: Callable[[], Awaitable[T]], failure_in: Callable[[T], GatewayError | None] = lambda _: None
    ) -> T:
        """Let one call through, and record its outcome.

        Args:
            ask: Makes the call.
            failure_in: Finds in an answer what amounts to a failure of the call.

        Raises:
            ProviderUnavailable: The provider is cooling down, or another request is probing it; it is not called.
        """
        is_probe = self._open_until is not None
        if is_probe:
            self._take_probe()
        late: asyncio.Future[Any] | None = None
        try:
            answer = await ask()
            late = self._judge(failure_in(answer))
        except GatewayError as error:
            late = self._judge(error)
            raise
        else:
            return answer
        finally:
            if late is not None:
                late.add_done_callback(partial(self._judge_late, is_probe=is_probe))
            elif is_probe:
                self._is_probing = False

    def _take_probe(self) -> None:
        left_s = self.cooldown_s or 0.0
        if left_s > 0 or self._is_probing:
            raise ProviderUnavailable(
                "It is cooling down after failures.", provider=self._name, retry_after_s=max(1.0, left_s)
            )
        self._is_probing = True

    def _judge(self, failure: GatewayError | None) -> "asyncio.Future[Any] | None":
        """Learn from how a call ended; return what is to be judged instead, where the call goes on."""
        if failure is None:
            self.reset()
        elif isinstance(failure, ProviderTimeout) and failure.is_hasty:
            return failure.late
        elif isinstance(failure, _FAILURES):
            self._count()
            if isinstance(failure, ProviderTimeout) and failure.late is not None:
                failure.late.add_done_callback(self._forgive)
        elif isinstance(failure, ProviderError) and not isinstance(failure, _SAYS_NOTHING):
            self.reset()
        return None

    def _forgive(self, late: "asyncio.Future[Any]") -> None:
        # It was slow, and it works.
        if not late.cancelled() and late.exception() is None:
            self.reset()

    def _judge_late(self, late: "asyncio.Future[Any]", *, is_probe: bool) -> None:
        # A call that was given up had all the time that a provider gets.
        failure = ProviderTimeout() if late.cancelled() else late.exception()
        if failure is None or isinstance(failure, GatewayError):
            self._judge(failure)
        if is_probe:
            self._is_probing = False

    def _count(self) -> None:
        self._failures += 1
        is_open = self._open_until is not None
        # Calls that were under way when it opened must not keep it open for longer.
        if self._failures < self._after or (is_open and not self._is_probing):
            return
        if not is_open:
            metrics.COOLDOWNS.labels(self._name).inc()
            self._gauge.set(1)
        self._open_until = self._clock() + self._cooldown_s


class GuardedLocator:
    """A locator behind a breaker."""

    def __init__(self, locator: Locator, breaker: Breaker) -> None:
        self._locator = locator
        self._breaker = breaker
        self.assess = locator.assess

    @property
    def locates_by(self) -> LocatesBy:
        """What it works from."""
        return self._locator.locates_by

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        """Ask, unless the provider is cooling down."""
        return await self._breaker.call(lambda: self._locator.locate(query, request_id=request_id, deadline=deadline))

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        """Ask about many, unless the provider is cooling down; one answer is enough to show that it is not."""
        return await self._breaker.call(
            lambda: self._locator.locate_many(queries, request_id=request_id, deadline=deadline), _failure_of_all
        )


def _failure_of_all(answers: Sequence[Located | GatewayError]) -> GatewayError | None:
    """Return the most telling error about the provider; None if a device was located."""
    errors = [answer for answer in answers if isinstance(answer, GatewayError)]
    if not errors or len(errors) < len(answers):
        return None
    answered = (error for error in errors if isinstance(error, ProviderError) and not isinstance(error, _FAILURES))
    asked = (error for error in errors if not isinstance(error, TimeTooShort))
    return next(answered, next(asked, errors[0]))


class GuardedTracker:
    """A tracker behind a breaker."""

    def __init__(self, tracker: Tracker, breaker: Breaker) -> None:
        self._tracker = tracker
        self._breaker = breaker

    @property
    def stop_limit(self) -> int:
        """How many devices one stop call takes."""
        return self._tracker.stop_limit

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        """Start, unless the provider is cooling down."""
        return await self._breaker.call(lambda: self._tracker.start(plan, deadline=deadline))

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        """Stop, unless the provider is cooling down."""
        return await self._breaker.call(lambda: self._tracker.stop(account, transaction_id, mdns, deadline=deadline))


def guarded(provider: Provider, *, after: int, cooldown_s: float) -> Provider:
    """Put a breaker in front of a provider: one for locating and tracking alike."""
    breaker = Breaker(provider.name, after=after, cooldown_s=cooldown_s)

    def health() -> Health:
        own = provider.health()
        left_s = breaker.cooldown_s
        if left_s is None or own.state not in _MAY_COOL_DOWN:
            return own
        return replace(own, state="cooling_down", cooldown_s=max(left_s, own.cooldown_s or 0.0))

    async def reset() -> None:
        breaker.reset()
        await provider.reset()

    return replace(
        provider,
        locator=GuardedLocator(provider.locator, breaker) if provider.locator else None,
        tracker=GuardedTracker(provider.tracker, breaker) if provider.tracker else None,
        health=health,
        reset=reset,
    )
