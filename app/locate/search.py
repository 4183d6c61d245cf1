"""One question on its way through the candidates: what was tried, and what came of it."""

import math
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from msgspec.structs import replace

from app.accuracy import Accuracy, scaled
from app.caller import Caller
from app.errors import (
    AccuracyNotMet,
    Attempt,
    FieldError,
    GatewayError,
    MissingIdentifier,
    Outcome,
    ProviderError,
    ProviderNotConfigured,
    UnusableMeasurements,
)
from app.locate.answers import LocateResult
from app.model import Device, Fix, LocationQuery, ProviderName
from app.observability import metrics
from app.observability.tracing import CURRENT, Recorded
from app.policy import Candidate
from app.provider import Assessment

_COMPARED_AT_PCT = 68
"""The level at which circles are compared whose levels are known: the one that CloudLocate declares."""


class Found(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fix that may be the answer.

    Attributes:
        report_id: The report that it is stored as, as hexadecimal digits.
        billed: Whether the provider is known to charge for it; None if unknown.
        hints: What to say where this is the answer.
        started: When its provider's turn began, on the clock of `time.perf_counter`.
    """

    fix: Fix
    accuracy: Accuracy
    report_id: str
    billed: bool | None = False
    flags: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    started: float = 0.0

    def is_smaller_than(self, other: "Found") -> bool:
        """Return whether the circle is smaller, at the same level where both levels are known."""
        return self.compared_m < other.compared_m

    @property
    def compared_m(self) -> float:
        """The radius to compare by; one that is not stated is wider than all others."""
        radius_m, level = self.accuracy.radius_m, self.accuracy.confidence_pct
        if radius_m is None:
            return math.inf
        return radius_m if level is None else scaled(radius_m, from_pct=level, to_pct=_COMPARED_AT_PCT)


@dataclass(slots=True, kw_only=True)
class Search:
    """One question on its way through the candidates.

    Attributes:
        query: As it was asked, and completed meanwhile.
        request_id: Of the request that asked first.
        left: Who may still be asked, the present candidate first.
        hints: What would get a better answer.
        best: The smallest circle found so far.
        billed: Whether a provider is known to charge for what was found; None if unknown.
    """

    query: LocationQuery
    caller: Caller
    request_id: str
    left: list[Candidate] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    answer: LocateResult | None = None
    best: Found | None = None
    billed: bool | None = False
    error: GatewayError | None = None

    @property
    def is_over(self) -> bool:
        """Whether no other provider has to be asked."""
        return self.answer is not None or not self.left

    @property
    def rival(self) -> ProviderName | None:
        """The provider whose answers alone count here, because the others are asked at the same time."""
        return self.left[0].name if self.left and self.query.strategy == "best" else None

    @property
    def is_recoverable(self) -> bool:
        """Whether the question failed in a way that the last known position makes good; a refusal does not."""
        outcome = self.outcome()
        if isinstance(outcome, ProviderError):
            return outcome.moves_on
        return isinstance(outcome, MissingIdentifier | UnusableMeasurements)

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
            # A skipped candidate explains a failure only if no provider could be asked.
            if outcome not in ("skipped", "not_configured") or self.error is None:
                self.error = error
            final = isinstance(error, ProviderError) and not error.moves_on
            self._go_on(is_final=final)

    def conclude(self, found: Found) -> None:
        """Record that the present candidate has located the device, and answer if that is as accurate as asked."""
        is_met = self._is_met(found)
        self.note("located", "wider than maxAccuracy" if is_met is False else None, started=found.started)
        self.offer(found)
        if is_met is False:
            self._go_on(is_final=False)

    def offer(self, found: Found) -> None:
        """Answer the question if a fix is as accurate as asked, else keep the best until all have been asked."""
        self.billed = _either(self.billed, found.billed)
        is_met = self._is_met(found)
        if self.best is None or found.is_smaller_than(self.best):
            self.best = found
        if is_met is not False:
            self.answer = self._answered(found, accuracy_met=is_met)

    def split(self) -> list["Search"]:
        """Split the search into one for each candidate, to run at the same time."""
        allowed = self.left if self.query.fallback else self.left[:1]
        query, caller, request_id = self.query, self.caller, self.request_id
        return [type(self)(query=query, caller=caller, request_id=request_id, left=[one]) for one in allowed]

    def join(self, parts: Sequence["Search"]) -> None:
        """Combine the parts: the smallest circle wins, unless one of the candidates refuses."""
        self.left = []
        for part in parts:
            self.query = replace(self.query, device=completed(self.query.device, part.query.device))
            self.attempts.extend(part.attempts)
            self.hints.extend(part.hints)
            self.billed = _either(self.billed, part.billed)
            if part.error is not None and (self.error is None or not _is_refusal(self.error)):
                self.error = part.error
        found = [part.best for part in parts if part.best is not None]
        if not found or _is_refusal(self.error):
            return
        best = found[0]
        for other in found[1:]:
            best = other if other.is_smaller_than(best) else best
        billed, self.billed = self.billed, False
        self.offer(replace(best, billed=billed))

    def recall(self, found: Found, now: datetime) -> None:
        """Answer with the last known position instead of the error that ended the search."""
        is_met = self._is_met(found)
        if is_met is False and self.query.assured:
            return
        problem = self.failure()
        self.billed = None if self.attempts else False
        answer = self._answered(found, accuracy_met=is_met)
        age_s = max(0.0, round((now - found.fix.fixed_at).total_seconds(), 1))
        self.answer = replace(answer, age_s=age_s, problem=problem)

    def _is_met(self, found: Found) -> bool | None:
        limit_m = self.query.max_accuracy_m
        return None if limit_m is None else found.accuracy.is_within(limit_m)

    def outcome(self) -> LocateResult | GatewayError:
        """Return the answer, else the best that was found, else the error that ends the search.

        A refusal is final: it stands even where a position was found before.
        """
        if self.answer is not None:
            return self.answer
        if self.best is None or _is_refusal(self.error):
            return self.failure()
        if not self.query.assured:
            return self._answered(self.best, accuracy_met=False)
        self.error = AccuracyNotMet(
            "The device was located in a wider circle than maxAccuracy; allow a wider one, or send assured false.",
            provider=self.best.fix.provider,
        )
        return self.failure()

    def _answered(self, found: Found, *, accuracy_met: bool | None) -> LocateResult:
        return LocateResult(
            device=self.query.device,
            fix=found.fix,
            accuracy=found.accuracy,
            attempts=tuple(self.attempts),
            hints=tuple(dict.fromkeys((*self.hints, *found.hints))),
            report_id=found.report_id,
            billed=self.billed,
            flags=found.flags,
            accuracy_met=accuracy_met,
        )

    def _go_on(self, *, is_final: bool) -> None:
        self.left = [] if is_final or not self.query.fallback else self.left[1:]

    def failure(self) -> GatewayError:
        """Return the error that ends the search."""
        assert self.error is not None
        # Several questions may have met the very same error, each after attempts of its own.
        error = copy(self.error)
        error.attempts = tuple(self.attempts)
        error.hints = tuple(dict.fromkeys((*self.hints, *error.hints)))
        return error


def _either(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001 -- both are the same kind of thing
    """Return whether one of two is billed; None if unknown."""
    if one or other:
        return True
    return None if one is None or other is None else False


def _is_refusal(error: GatewayError | None) -> bool:
    return isinstance(error, ProviderError) and not error.moves_on


def completed(device: Device, by: Device) -> Device:
    """Add the identifiers that another way of locating the device has found out."""
    return replace(device, id=device.id or by.id, kind=device.kind or by.kind, mdn=device.mdn or by.mdn)


def pass_over(name: ProviderName, group: Sequence[Search], started: float) -> None:
    """Go on to the next candidate, because the present one has no settings."""
    missing = ProviderNotConfigured("The provider's settings are incomplete; see /providers.", provider=name)
    for search in group:
        search.note("not_configured", missing.title, started=started, error=missing)


def unknown_name() -> MissingIdentifier:
    """Make the error for a device of which only a name is known."""
    detail = "send imei, meid or esn, and mdn where it is not known yet, or measurements"
    return MissingIdentifier(
        "No fix that is fresh enough is stored under this name, and a network does not know names.",
        errors=(FieldError(pointer="/device", code="MISSING", detail=detail),),
    )


def unidentified(assessment: Assessment) -> MissingIdentifier:
    """Make the error that names the missing identifier, and why it could not be completed."""
    if assessment.missing_identifier is None:
        field = FieldError(pointer="/device", code="MISSING", detail=assessment.reason)
        return MissingIdentifier(assessment.reason, errors=(field,))
    lacking = "mdn" if assessment.missing_identifier == "mdn" else "imei"
    detail = f"send {lacking} as well; neither the alias book nor the provider's device list has it"
    return MissingIdentifier(
        assessment.reason, errors=(FieldError(pointer=f"/device/{lacking}", code="MISSING", detail=detail),)
    )
