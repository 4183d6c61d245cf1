"""Identical questions: one search for those that are in flight, one answer for those that come shortly after."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from cachetools import TTLCache
from msgspec.structs import replace

from app.errors import GatewayError, ProviderTimeout, Unavailable
from app.locate.answers import LocateResult
from app.model import LocationQuery
from app.observability import metrics
from app.plausibility import may_be_believed

_MOST_KEPT = 10_000

Question: TypeAlias = tuple[LocationQuery, str]
"""A query, and whose answers to it may be shared."""


class Shared(NamedTuple):
    """The outcome of a question.

    Attributes:
        is_own: Whether the search was this caller's; else what it cost is another one's.
    """

    outcome: LocateResult | GatewayError
    is_own: bool


class SingleFlight:
    """Lets identical questions share a search."""

    def __init__(self, reuse_s: float) -> None:
        """Begin with nothing to share.

        Args:
            reuse_s: How long an answer may serve identical questions, seconds; 0 turns that off.
        """
        self._reuse_s = reuse_s
        self._in_flight: dict[tuple[Question, float], asyncio.Future[LocateResult | GatewayError]] = {}
        self._kept: TTLCache[Question, LocateResult] = TTLCache(_MOST_KEPT, reuse_s)

    async def answer(
        self, question: Question, timeout_s: float, search: Callable[[], Awaitable[LocateResult]]
    ) -> Shared:
        """Return the outcome of an identical question, in flight or recent; else run the search."""
        if self._reuse_s and (kept := self._recall(question)) is not None:
            return Shared(kept, is_own=False)
        key = (question, timeout_s)
        if (running := self._in_flight.get(key)) is not None:
            return Shared(await self._share(running, timeout_s), is_own=False)
        future: asyncio.Future[LocateResult | GatewayError] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        outcome: LocateResult | GatewayError = Unavailable("The gateway stopped before the answer came.")
        try:
            outcome = await search()
        except GatewayError as error:
            outcome = error
        finally:
            del self._in_flight[key]
            future.set_result(outcome)
        if self._reuse_s and isinstance(outcome, LocateResult) and may_be_believed(outcome.flags):
            self._kept[question] = outcome
        return Shared(outcome, is_own=True)

    def forget(self) -> None:
        """Forget all answers that are kept."""
        self._kept.clear()

    async def _share(
        self, running: "asyncio.Future[LocateResult | GatewayError]", timeout_s: float
    ) -> LocateResult | GatewayError:
        metrics.STORED_ANSWERS.labels("in_flight").inc()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(running)
        except TimeoutError:
            return ProviderTimeout("No answer came in time.")

    def _recall(self, question: Question) -> LocateResult | None:
        kept = self._kept.get(question)
        if kept is None:
            return None
        metrics.STORED_ANSWERS.labels("reuse").inc()
        return replace(kept, fix=replace(kept.fix, cached=True))
