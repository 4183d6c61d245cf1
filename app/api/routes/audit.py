"""The audit trail, for holders of the scope `admin`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.access import Action, AuditFilter, AuditRecord
from app.api import examples
from app.api.gateway import gateway_of
from app.api.parameters import Cursor, Limit, Since, Until, place_of, refuse_unknown
from app.api.rendering import instant, page_response
from app.api.report_parameters import Account
from app.api.schemas.base import Schema
from app.errors import InvalidArgument
from app.ids import public_id

router = APIRouter(tags=["audit"])

_NO_NUL = r"^[^\x00]*$"
Key = Annotated[
    str | None,
    Query(max_length=64, pattern=_NO_NUL, description="the id of a key, or `bootstrap`, `anyone` or `command-line`"),
]
Device = Annotated[
    str | None,
    Query(
        max_length=128,
        pattern=_NO_NUL,
        description="IMEI, MEID, ESN, MDN or name; also finds periodic sessions with the device",
    ),
]


class AuditEntry(Schema):
    """One audited request."""

    id: str
    at: datetime
    key: str
    request_id: str
    action: Action
    outcome: str
    account: str | None
    device: str | None
    provider: str | None
    billed: bool | None
    report_id: str | None
    session_id: str | None
    subject: str | None


class AuditAnswer(Schema):
    """A page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next: str | None


@router.get(
    "/audit",
    summary="The audit trail, newest first",
    response_model=AuditAnswer,
    responses=examples.problems(*examples.ACCESS, InvalidArgument),
)
async def list_audit(
    request: Request,
    key: Key = None,
    device: Device = None,
    account: Account = None,
    action: Annotated[Action | None, Query(description="only this action")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """List audited requests: the key, the action, the device and the outcome.

    `outcome` is `located`, `accepted`, `done`, or the `code` of the problem. `reportId` is the report of the returned
    position, as long as it is kept. `billed` is null where it is unknown.
    """
    refuse_unknown(request, ("key", "device", "account", "action", "since", "until", "cursor", "limit"))
    wanted = AuditFilter(
        key_id=key,
        device=device,
        account=account,
        action=action,
        since=since,
        until=until,
        before=place_of(cursor),
    )
    found = await gateway_of(request).audit_trail.page(wanted, limit=limit)
    return page_response("entries", found, to_entry)


def to_entry(row: AuditRecord) -> dict[str, Any]:
    """Write an audit row."""
    return {
        "id": public_id(row.id),
        "at": instant(row.at),
        "key": row.key_id,
        "requestId": row.request_id,
        "action": row.action,
        "outcome": row.outcome,
        "account": row.account,
        "device": row.device,
        "provider": row.provider,
        "billed": row.billed,
        "reportId": row.report_id and public_id(row.report_id),
        "sessionId": row.session_id and public_id(row.session_id),
        "subject": row.subject,
    }
