"""Who may start a session, and what is told of it in the audit trail."""

from dataclasses import dataclass

import orjson

from app.caller import Caller
from app.errors import FieldError, PermissionDenied
from app.model import PeriodicPlan
from app.periodic.answers import Answer

_PROBLEM_FROM = 400
_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOutcome:
    """What the audit trail says of a start."""

    outcome: str
    billed: bool | None = False
    session_id: str | None = None


def permit(plan: PeriodicPlan, caller: Caller) -> None:
    """Refuse a plan that goes beyond what a caller may do.

    Raises:
        PermissionDenied: The account or a device is out of reach, or it may not go on without an end.
    """
    if not caller.reach.has_account(plan.account):
        field = FieldError(pointer="/account", code="OUT_OF_REACH", detail="this API key may not see this account")
        raise PermissionDenied("This API key may not see this account.", errors=(field,))
    foreign = [place for place, device in enumerate(plan.devices) if not caller.reach.has_device(device)]
    if foreign:
        detail = "this API key may not locate this device, or not under this number"
        fields = [FieldError(pointer=f"/devices/{place}", code="OUT_OF_REACH", detail=detail) for place in foreign]
        raise PermissionDenied("This API key may not locate all of these devices.", errors=tuple(fields[:_MOST_SHOWN]))
    if plan.count is None and "periodic:unlimited" not in caller.scopes:
        raise PermissionDenied("A session without an end needs an API key with the scope `periodic:unlimited`.")
    if plan.count is None and caller.daily_fixes is not None:
        raise PermissionDenied("This API key has a daily budget, which a session without an end would not respect.")


def to_outcome(answer: Answer) -> AuditOutcome:
    """Read what a caller is told, as it is written down."""
    content = orjson.loads(answer.body)
    session_id = None if answer.session_id is None else answer.session_id.hex
    if answer.status >= _PROBLEM_FROM:
        return AuditOutcome(outcome=content["code"], billed=None if answer.session_id else False, session_id=session_id)
    return AuditOutcome(outcome="accepted", billed=None, session_id=session_id)
