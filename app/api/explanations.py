"""Explanations of `/locate` as they go over the wire."""

from uuid import UUID

from app.access import Budget
from app.api import answers
from app.api.problems import to_problem
from app.api.rendering import to_location
from app.ids import public_id
from app.locate import Explanation, RehearsedCandidate

_ANSWERS = ("would_be_asked", "only_if_others_fail", "answered_from_store")


def to_explain_answer(explanation: Explanation, request_id: str) -> answers.ExplainAnswer:
    """Write what a request would come to."""
    stored = explanation.stored
    written: answers.ExplainAnswer = {
        "requestId": request_id,
        "candidates": [_to_candidate(one) for one in explanation.candidates],
        "stored": None
        if stored is None
        else {
            "reportId": public_id(UUID(stored.report_id)),
            "location": to_location(stored.fix, stored.accuracy),
            "age": explanation.stored_age_s,
        },
        "ladder": [step for one in explanation.candidates for step in _to_steps(one)],
        "budget": None if explanation.budget is None else _to_budget(explanation.budget),
        "hints": list(explanation.hints),
    }
    if explanation.problem is not None:
        written["problem"] = to_problem(explanation.problem, request_id)
    return written


def _to_candidate(one: RehearsedCandidate) -> answers.CandidateAnswer:
    billed = {step.billed for step in one.steps}
    return {
        "provider": one.provider,
        "verdict": one.verdict,
        "reason": one.reason,
        "expected": {"sources": list(one.sources), "billed": billed.pop() if len(billed) == 1 else None}
        if one.steps
        else None,
    }


def _to_steps(one: RehearsedCandidate) -> list[answers.StepAnswer]:
    if one.verdict == "answered_from_store":
        return [{"provider": one.provider, "step": "store", "billed": False}]
    if one.verdict not in _ANSWERS:
        return []
    return [{"provider": one.provider, "step": step.name, "billed": step.billed} for step in one.steps]


def _to_budget(budget: Budget) -> answers.BudgetAnswer:
    return {"dailyFixes": budget.daily_fixes, "left": budget.left, "resetsIn": budget.reset_s}
