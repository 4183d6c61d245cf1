"""One question on its way through the candidates: what was tried, and what came of it."""

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from app.caller import Caller
from app.errors import (
    Attempt,
    FieldError,
    GatewayError,
    MissingIdentifier,
    Outcome,
    ProviderError,
    ProviderNotConfigured,
)
from app.locate.answers import LocateResult
from app.model import Fix, LocationQuery, ProviderName
from app.observability import metrics
from app.observability.tracing import CURRENT, Recorded
from app.policy import Candidate
from app.provider import Assessment


@dataclass(slots=True, kw_only=True)
class Search:
    """One question on its way through the candidates.

    Attributes:
        query: As it was asked, and completed meanwhile.
        request_id: Of the request that asked first.
        left: Who may still be asked, the present candidate first.
        hints: What would get a better answer.
    """

    query: LocationQuery
    caller: Caller
    request_id: str
    left: list[Candidate]
    attempts: list[Attempt] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    answer: LocateResult | None = None
    error: GatewayError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody has to be asked any more."""
        return self.answer is not None or not self.left

    def note(self, outcome: Outcome, reason: str | None, *, started: float, error: GatewayError | None = None) -> None:
        """List an attempt at the present candidate, and go on to the next where that is allowed."""
        candidate = self.left[0]
        duration_s = time.perf_counter() - started
        attempt = Attempt(provider=candidate.name, outcome=outcome, duration_ms=round(duration_s * 1000), reason=reason)
        self.attempts.append(attempt)
        metrics.attempt(candidate.name, outcome, duration_s)
        if isinstance(trace := CURRENT.get(), Recorded):
            trace.note("attempt", {"gateway.provider": candidate.name, "gateway.outcome": outcome})
        if error is not None:
            # A skipped candidate explains a failure only when nobody could be asked.
            if outcome not in ("skipped", "not_configured") or self.error is None:
                self.error = error
            final = isinstance(error, ProviderError) and not error.moves_on
            self.left = [] if final or not self.query.fallback else self.left[1:]

    def conclude(self, fix: Fix, *, report_id: str, billed: bool | None = False, flags: tuple[str, ...] = ()) -> None:
        """Answer the question."""
        self.answer = LocateResult(
            device=self.query.device,
            fix=fix,
            attempts=tuple(self.attempts),
            hints=tuple(dict.fromkeys(self.hints)),
            report_id=report_id,
            billed=billed,
            flags=flags,
        )

    def failure(self) -> GatewayError:
        """Give the error that ends the search."""
        assert self.error is not None
        # Several questions may have met the very same error, each after attempts of its own.
        error = copy(self.error)
        error.attempts = tuple(self.attempts)
        error.hints = tuple(dict.fromkeys((*self.hints, *error.hints)))
        return error


def pass_over(name: ProviderName, group: Sequence[Search], started: float) -> None:
    """Go on to the next candidate, because the present one has no settings."""
    missing = ProviderNotConfigured("The provider's settings are incomplete; see /providers.", provider=name)
    for search in group:
        search.note("not_configured", missing.title, started=started, error=missing)


def unknown_name() -> MissingIdentifier:
    """Tell what to send for a device of which only a name is known."""
    detail = "send imei, meid or esn, and mdn where it is not known yet, or measurements"
    return MissingIdentifier(
        "No fix that is fresh enough is stored under this name, and a name says nothing to a network.",
        errors=(FieldError(pointer="/device", code="MISSING", detail=detail),),
    )


def unidentified(assessment: Assessment) -> MissingIdentifier:
    """Tell which identifier is missing, and why it could not be completed."""
    if assessment.missing_identifier is None:
        field = FieldError(pointer="/device", code="MISSING", detail=assessment.reason)
        return MissingIdentifier(assessment.reason, errors=(field,))
    lacking = "mdn" if assessment.missing_identifier == "mdn" else "imei"
    detail = f"send {lacking} as well; neither the alias book nor the provider's device list has it"
    return MissingIdentifier(
        assessment.reason, errors=(FieldError(pointer=f"/device/{lacking}", code="MISSING", detail=detail),)
    )
