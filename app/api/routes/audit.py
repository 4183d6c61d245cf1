"""The audit trail, for holders of the scope `admin`."""

from typing import Annotated, cast

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.access import Action, AuditFilter, AuditRecord
from app.api import examples
from app.api.gateway import gateway_of
from app.api.parameters import Cursor, Limit, Since, Until, place_of, refuse_unknown
from app.api.rendering import instant, page_response
from app.api.report_parameters import Account
from app.api.schemas.access import AuditAnswer, AuditEntry
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

    With `account` or `action`, and no `device`, a page looks through a limited number of rows: it may be short or even
    empty and still have a `next`. Continue until `next` is null.
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


def to_entry(row: AuditRecord) -> AuditEntry:
    """Write an audit row."""
    return {
        "id": public_id(row.id),
        "at": instant(row.at),
        "key": row.key_id,
        "requestId": row.request_id,
        "action": cast("Action", row.action),
        "outcome": row.outcome,
        "account": row.account,
        "device": row.device,
        "provider": row.provider,
        "billed": row.billed,
        "reportId": public_id(row.report_id) if row.report_id else None,
        "sessionId": public_id(row.session_id) if row.session_id else None,
        "subject": row.subject,
    }
