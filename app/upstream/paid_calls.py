"""Billed calls: they are counted, and their answers are kept even if no caller waits for them any more."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from app.errors import GatewayError, ProviderTimeout
from app.model import Deadline, ProviderName
from app.provider import Reservation, meter
from app.upstream.call_times import CallTimes

T = TypeVar("T")
U = TypeVar("U")

_LONGEST_S = 60.0
"""How long a billed answer is awaited after its caller has left and the provider's time limit is over."""


class PaidCalls:
    """Makes one provider's calls that cost something, and owns those that outlast their caller's patience."""

    def __init__(self, provider: ProviderName, *, limit_s: float) -> None:
        """Begin with no call under way.

        Args:
            limit_s: How long the provider may take for an answer.
        """
        self._provider = provider
        self._limit_s = limit_s
        self._under_way: set[asyncio.Task[Any]] = set()

    async def answer_to(self, call: Coroutine[Any, Any, T], *, times: CallTimes, deadline: Deadline) -> T:
        """Make a call and wait for its answer, until the deadline or the provider's limit; the call then goes on.

        Args:
            times: Learns how long it takes.

        Raises:
            ProviderTimeout: No answer came in time; `late` will have it.
            GatewayError: What the call raises.
        """
        # What `asyncio.timeout` and `asyncio.wait` would do costs twice as much, and every query comes this way.
        loop = asyncio.get_running_loop()
        begun_at = time.monotonic()
        waiter: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(call)
        self._under_way.add(task)
        task.add_done_callback(partial(self._end, waiter=waiter, times=times, begun_at=begun_at))
        left_s = deadline.left_s()
        timer = loop.call_later(min(left_s, self._limit_s), _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            if not task.done():
                loop.call_later(max(_LONGEST_S, self._limit_s) - (time.monotonic() - begun_at), task.cancel)
        if task.done():
            return task.result()
        error = ProviderTimeout(
            "No answer came in time. The call goes on, and its answer is stored when it comes: ask again with maxAge, "
            "or look into /reports, rather than pay for another one.",
            provider=self._provider,
            may_have_been_received=True,
        )
        error.is_hasty = left_s < min(self._limit_s, times.expected_s)
        error.late, error.expected_at = task, begun_at + times.expected_s
        raise error

    async def aclose(self) -> None:
        """Cancel calls that are still under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _end(
        self, task: "asyncio.Task[Any]", *, waiter: "asyncio.Future[None]", times: CallTimes, begun_at: float
    ) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and task.exception() is None:
            times.add(time.monotonic() - begun_at)
        _wake(waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def part_of(whole: "asyncio.Future[T]", pick: Callable[[T], U]) -> "asyncio.Future[U]":
    """Make the future of a part of what another future will bring; `pick` may raise what the part failed with."""
    part: asyncio.Future[U] = whole.get_loop().create_future()

    def settle(_: "asyncio.Future[T]") -> None:
        if part.done():
            return
        if whole.cancelled():
            part.cancel()
            return
        try:
            part.set_result(pick(whole.result()))
        except GatewayError as error:
            part.set_exception(error)

    whole.add_done_callback(settle)
    part.add_done_callback(_retrieve)
    return part


@asynccontextmanager
async def reserved(fixes: int) -> AsyncIterator[Reservation]:
    """Count fixes in the caller's budget while the block asks for them; those certainly not billed are returned.

    Raises:
        BudgetExceeded: The caller's budget does not cover these fixes.
        Unavailable: They cannot be counted now, so they must not be asked for.
    """
    counting = meter()
    if counting is None or not fixes:
        yield Reservation()
        return
    reservation = Reservation(counting, await counting.reserve(fixes), fixes)
    try:
        yield reservation
    except GatewayError as error:
        # Whatever leaves open that it was done stays counted.
        if not getattr(error, "may_have_been_received", False):
            await reservation.give_back(fixes)
        raise


def _retrieve(future: "asyncio.Future[Any]") -> None:
    # Without a caller left, asyncio would log an exception that was never retrieved.
    if not future.cancelled():
        future.exception()
