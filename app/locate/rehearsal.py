"""The expected course of a location query: the same steps, without asking any provider."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from app.access.limits import Budget
from app.errors import GatewayError, Outcome, PermissionDenied
from app.locate.search import Found, Search
from app.model import Deadline, ProviderName, Source
from app.policy import Candidate, is_identified
from app.provider import Assessment, CallStep, Provider

Verdict = Literal[
    "would_be_asked",
    "only_if_others_fail",
    "answered_from_store",
    "unusable",
    "not_configured",
    "cooling_down",
    "over_budget",
    "not_permitted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCandidate:
    """What would happen with one provider.

    Attributes:
        reason: Why, in words; None where the verdict says it all.
        steps: What would be asked of it, in order, until one of them is good enough.
        sources: What the position could be worked out from.
    """

    provider: ProviderName
    verdict: Verdict
    reason: str | None = None
    steps: tuple[CallStep, ...] = ()
    sources: tuple[Source, ...] = ()


_OF_OUTCOME: dict[Outcome, Verdict] = {"not_configured": "not_configured", "skipped": "unusable"}
_ASKED = ("would_be_asked", "only_if_others_fail")


@dataclass(slots=True, kw_only=True)
class Rehearsal(Search):
    """A search that asks no provider.

    Attributes:
        candidates: What would happen with each of the candidates, in their order.
    """

    candidates: list[RehearsedCandidate] = field(default_factory=list)

    def note(self, outcome: Outcome, reason: str | None, *, started: float, error: GatewayError | None = None) -> None:
        """List that the present candidate would not be asked, and go on to the next."""
        self.judge(_OF_OUTCOME.get(outcome, "unusable"), reason)

    def offer(self, found: Found) -> None:
        """Answer from the store if the fix is as accurate as asked."""
        present = self.left
        Search.offer(self, found)
        if self.answer is not None:
            self.left = present
            self.judge("answered_from_store", None)
            self.left = []

    def judge(self, verdict: Verdict, reason: str | None, assessment: Assessment | None = None) -> None:
        """List what would happen with the present candidate, and go on to the next."""
        if verdict in ("would_be_asked", "answered_from_store") and any(
            one.verdict in _ASKED for one in self.candidates
        ):
            verdict, reason = (
                "only_if_others_fail",
                reason or (None if assessment else "a stored fix would answer then"),
            )
        self.candidates.append(
            RehearsedCandidate(
                provider=self.left[0].name,
                verdict=verdict,
                reason=reason,
                steps=assessment.steps if assessment else (),
                sources=assessment.sources if assessment else (),
            )
        )
        self._go_on(is_final=False)

    def join(self, parts: Sequence[Search]) -> None:
        """Take what the parts would come to."""
        self.left = []
        for part in parts:
            assert isinstance(part, Rehearsal)
            self.candidates.extend(part.candidates)
            self.best = self.best or part.best
            self.hints.extend(part.hints)


class RehearsedCalls:
    """Finds out what asking providers would come to, before any call."""

    may_look_up = False

    def __init__(self, budget: Budget | None) -> None:
        """Hold calls against what the caller may still spend; None does not limit it."""
        self._budget = budget

    async def ask(self, provider: Provider, group: list[Search], deadline: Deadline, started: float) -> None:
        """Judge the present candidate of some searches."""
        for search in group:
            assert isinstance(search, Rehearsal)
            self._judge(provider, search)

    def _judge(self, provider: Provider, search: Rehearsal) -> None:
        assert provider.locator is not None
        assessment = provider.locator.assess(search.query)
        health = provider.health()
        if health.state == "paused":
            search.judge("cooling_down", "its logins are paused, because the credentials were rejected")
        elif health.cooldown_s:
            search.judge("cooling_down", f"it is left alone after failures, for {math.ceil(health.cooldown_s)} seconds")
        elif self._budget is not None and self._budget.left < 1 and _is_always_billed(assessment):
            search.judge("over_budget", "the key's budget of billed fixes is used up", assessment)
        elif assessment.missing_identifier is not None:
            search.judge("would_be_asked", "its device list is asked first for the missing identifier", assessment)
        else:
            search.judge("would_be_asked", None, assessment)


def _is_always_billed(assessment: Assessment) -> bool:
    return all(step.billed for step in assessment.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a question would come to.

    Attributes:
        candidates: In the order in which they would be asked, then those that would not be asked at all.
        stored: The newest stored position of the device, of whatever age.
        stored_age_s: Its age, seconds.
        budget: What the caller may still spend; None without a limit.
        problem: Why the question would be refused before anybody is asked.
    """

    candidates: tuple[RehearsedCandidate, ...]
    stored: Found | None
    stored_age_s: float
    budget: Budget | None
    hints: tuple[str, ...]
    problem: GatewayError | None


def to_explanation(
    search: Rehearsal,
    known: Sequence[Candidate],
    problem: GatewayError | None,
    stored: Found | None,
    budget: Budget | None,
    now: datetime,
) -> Explanation:
    """Put together what a rehearsal has found out.

    Args:
        known: All providers that locate anything.
        problem: Why the question would be refused.
    """
    judged = {one.provider for one in search.candidates}
    others = [_set_aside(one, search, problem) for one in known if one.name not in judged]
    return Explanation(
        candidates=(*search.candidates, *others),
        stored=stored,
        stored_age_s=max(0.0, round((now - stored.fix.fixed_at).total_seconds(), 1)) if stored else 0.0,
        budget=budget,
        hints=tuple(dict.fromkeys(search.hints)),
        problem=problem,
    )


def _set_aside(candidate: Candidate, search: Rehearsal, problem: GatewayError | None) -> RehearsedCandidate:
    query = search.query
    verdict: Verdict = "unusable"
    if isinstance(problem, PermissionDenied):
        verdict, reason = "not_permitted", problem.detail
    elif query.pinned not in (None, candidate.name):
        reason = "another provider is named in the request"
    elif not candidate.assessment.usable:
        reason = candidate.assessment.reason
    elif candidate.locates_by == "measurements" and query.evidence is None:
        reason = "it needs measurements, and none were sent"
    elif candidate.locates_by == "device" and not is_identified(query.device):
        reason = "it needs the device's identifiers, and none were sent"
    elif not query.fallback:
        reason = "fallback is off, and another provider comes first"
    else:
        verdict, reason = "only_if_others_fail", "another answer comes first"
    return RehearsedCandidate(provider=candidate.name, verdict=verdict, reason=reason)
