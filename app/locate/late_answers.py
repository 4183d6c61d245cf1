"""Answers that arrive after their search has timed out: they are stored, and later searches wait for them."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from app.access import Actor, AuditLog
from app.errors import ProviderTimeout, UnableToLocate
from app.locate.answers import LocateResult, record_answer, stated
from app.locate.fix_store import FixStore
from app.locate.search import Search
from app.model import Deadline, Evidence, Located, LocationQuery, NotLocated
from app.observability import metrics
from app.plausibility import may_be_believed
from app.provider import Provider
from app.storage.clock import DatabaseClock
from app.storage.rows import device_key
from app.worker import Background

T = TypeVar("T")

_STILL_UNDER_WAY = "an earlier call about the same is still under way; ask again in some seconds for its answer"


class _Question(NamedTuple):
    """What two searches have in common of which one can wait for the answer to the other."""

    provider: str
    account: str | None
    device: str | None
    evidence: Evidence | None
    shares_with: str
    is_current: bool


class LateAnswers:
    """Owns searches that outlast their callers, and calls that outlast their searches."""

    def __init__(self, fixes: FixStore, audit: AuditLog, clock: DatabaseClock, *, patience_s: float) -> None:
        """Expect nothing.

        Args:
            patience_s: How long the last calls are waited for at the end.
        """
        self._fixes = fixes
        self._audit = audit
        self._clock = clock
        self._background = Background(patience_s=patience_s)
        self._expected: dict[_Question, ProviderTimeout] = {}

    @property
    def is_expecting(self) -> bool:
        """Whether any call is under way that outlasted its search."""
        return bool(self._expected)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Work while the block lasts; at its end the last answers are waited for."""
        return self._background.running()

    async def sheltered(self, search: Coroutine[Any, Any, T]) -> T:
        """Await a search; it goes on when the caller goes away, because it may have been paid for."""
        return await self._background.sheltered(search)

    def expect(self, search: Search, error: ProviderTimeout, provider: Provider) -> None:
        """Keep what a call will bring that goes on."""
        if error.late is None:
            return
        question = _to_question(search, provider)
        self._expected[question] = error
        self._background.begin(self._keep(search, error, provider, question))

    async def wait(self, search: Search, provider: Provider, deadline: Deadline) -> Located | None:
        """Wait for a call under way that answers a search, and is paid for; None where there is none, or it fails."""
        question = _to_question(search, provider)
        error = self._expected.get(question)
        if error is None and search.query.max_age_s is None:
            error = self._expected.get(question._replace(is_current=True))
        if error is None or error.late is None:
            return None
        await asyncio.wait((error.late,), timeout=min(deadline.left_s(), error.expected_at - time.monotonic()))
        if not error.late.done():
            search.hints.append(_STILL_UNDER_WAY)
            return None
        if error.late.cancelled() or error.late.exception() is not None:
            return None
        metrics.STORED_ANSWERS.labels("late").inc()
        located: Located = error.late.result()
        return replace(located, billed=False) if _is_fresh(located, search.query, self._clock.now()) else None

    async def _keep(self, search: Search, expected: ProviderTimeout, provider: Provider, question: _Question) -> None:
        assert expected.late is not None
        try:
            located: Located = await expected.late
        except UnableToLocate as error:
            if isinstance(error.obtained, Located | NotLocated):
                self._fixes.store(search.query.device, error.obtained, provider)
            raise
        finally:
            if self._expected.get(question) is expected:
                del self._expected[question]
        report_id = self._fixes.store(search.query.device, located, provider)
        answer = LocateResult(
            device=search.query.device,
            fix=located.fix,
            accuracy=stated(search.query, located.fix, {}),
            report_id=report_id,
            billed=located.billed,
        )
        by = Actor(key_id=search.caller.key_id, request_id=search.request_id)
        record_answer(self._audit, by, search.query, answer)
        metrics.LATE_FIXES.labels(provider.name).inc()


def _is_fresh(located: Located, query: LocationQuery, now: datetime) -> bool:
    if not query.max_age_s or query.evidence is not None:
        return True
    oldest_at = now - timedelta(seconds=query.max_age_s)
    return located.fix.fixed_at >= oldest_at and may_be_believed(located.flags)


def _to_question(search: Search, provider: Provider) -> _Question:
    query = search.query
    evidence = (
        query.evidence if provider.locator is not None and provider.locator.locates_by == "measurements" else None
    )
    return _Question(
        provider=provider.name,
        account=query.device.account or provider.default_account,
        device=device_key(query.device),
        evidence=evidence,
        shares_with=search.caller.shares_with,
        is_current=evidence is not None or query.max_age_s is not None,
    )
