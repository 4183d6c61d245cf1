"""`/periodic`: sessions in which devices are located again and again."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app import errors
from app.api import examples
from app.api.access import caller_of
from app.api.body import JsonRoute
from app.api.gateway import gateway_of, request_id_of
from app.api.parameters import IDEMPOTENCY_KEY, Cursor, Limit, idempotency_key, place_of, refuse_unknown
from app.api.periodic_rendering import SessionAnswerWriter, to_session, to_session_device, to_stopped
from app.api.problems import MEDIA_TYPE
from app.api.rendering import json_response, page_response
from app.api.report_parameters import (
    Account,
    BoxText,
    Flag,
    Order,
    ReceivedSince,
    ReceivedUntil,
    ReportLimit,
    Since,
    Status,
    Type,
    Until,
    box_of,
)
from app.api.routes import reports
from app.api.schemas import periodic as schemas
from app.api.schemas.identifiers import MdnText
from app.api.schemas.reports import REPORTS_RESPONSES, ReportsAnswer
from app.ids import public_id
from app.periodic import StoredAnswer
from app.reports import ReportFilter

router = APIRouter(tags=["periodic"])
_starts = APIRouter(route_class=JsonRoute)

Reference = Annotated[str, Path(max_length=256, description="the session's id, or ThingSpace's transaction id")]
Mdns = Annotated[
    list[MdnText] | None,
    Query(max_length=10_000, description="stop these devices only; may be repeated"),
]
_PROBLEM_FROM = 400
_EXAMPLE = {
    "account": "0844559123-00001",
    "devices": [{"imei": "990001123456782", "mdn": "5085550101"}],
    "interval": 300,
    "count": 6,
}
_START_EXTRA: dict[str, Any] = {
    "requestBody": {"content": {"application/json": {"examples": {"half an hour": {"value": _EXAMPLE}}}}},
    "parameters": [
        {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "a key of your own; repeating the request with it is safe for 24 hours",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "example": "7d1f6f0c-start-pumps",
        }
    ],
}
_OF_A_SESSION = {
    "show": "get_periodic",
    "devices": "list_periodic_devices",
    "reports": "list_periodic_reports",
    "stop": "stop_periodic",
}
_READING = examples.problems(*examples.ACCESS, errors.NotFound, errors.InvalidArgument)
_LOCATION_HEADER = {"Location": {"schema": {"type": "string"}, "description": "where to follow the session"}}
_LISTING: dict[int | str, dict[str, Any]] = {
    **_READING,
    200: {
        "description": "Sessions, newest first",
        "links": examples.links("reference", "$response.body#/sessions/0/id", **_OF_A_SESSION),
    },
}
_START_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Under way, or already begun under this Idempotency-Key",
        "headers": _LOCATION_HEADER,
        "links": examples.links("reference", "$response.body#/id", **_OF_A_SESSION),
    },
    **examples.problems(
        *examples.ACCESS,
        *examples.BODY,
        *examples.PROVIDER,
        errors.MissingIdentifier,
        errors.UnsupportedIdentifier,
        errors.ServiceNotApplicable,
        errors.IdempotencyKeyReused,
        errors.IdempotencyInProgress,
        errors.OutcomeUnknown,
    ),
}
_START_RESPONSES[504]["headers"] = _LOCATION_HEADER
_STOP_RESPONSES = examples.problems(
    *examples.ACCESS, errors.NotFound, errors.InvalidArgument, errors.IncompatibleState, errors.ProviderNotConfigured
)


@_starts.post(
    "/periodic",
    status_code=202,
    summary="Start a periodic session",
    response_model=schemas.SessionAnswer,
    responses=_START_RESPONSES,
    openapi_extra=_START_EXTRA,
)
async def start_periodic(body: schemas.PeriodicRequest, request: Request) -> Response:
    """Locate up to 10,000 devices at intervals; ThingSpace sends their reports as callbacks.

    The start is sent to ThingSpace exactly once. If its outcome is unknown, the answer is 504 `OUTCOME_UNKNOWN` with
    the `session`, which becomes active when one of its callbacks arrives.

    A request with an `Idempotency-Key` can be repeated for 24 hours: the same body gets the same answer, or 202 with
    the current session if the outcome was unknown. Final refusals are kept too. A failure before anything was started
    (most 429 and 503, `PROVIDER_AUTH_FAILED`) and an invalid request leave the key free.
    """
    periodic = gateway_of(request).periodic
    caller, request_id = caller_of(request), request_id_of(request)
    plan = body.to_plan(caller.reach.only_account or periodic.default_account())
    answer = await periodic.start(
        plan,
        key=idempotency_key(request, body),
        words=SessionAnswerWriter(request_id),
        caller=caller,
        request_id=request_id,
    )
    return _to_response(answer)


router.include_router(_starts)


@router.get(
    "/periodic", summary="List sessions, newest first", response_model=schemas.SessionsAnswer, responses=_LISTING
)
async def list_periodic(
    request: Request,
    state: Annotated[schemas.SessionState | None, Query(description="only sessions in this state")] = None,
    account: Account = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """List sessions with their counts."""
    refuse_unknown(request, ("state", "account", "cursor", "limit"))
    found = await gateway_of(request).periodic.page(
        state=state, account=account, before=place_of(cursor), limit=limit, reach=caller_of(request).reach
    )
    return page_response("sessions", found, to_session)


@router.get("/periodic/{reference}", summary="One session", response_model=schemas.SessionAnswer, responses=_READING)
async def get_periodic(reference: Reference, request: Request) -> Response:
    """Show a session with its counts: reports received, failed and missing."""
    refuse_unknown(request, ())
    return json_response(to_session(await gateway_of(request).periodic.show(reference, reach=caller_of(request).reach)))


@router.get(
    "/periodic/{reference}/devices",
    summary="The devices of a session",
    response_model=schemas.SessionDevicesAnswer,
    responses=_READING,
)
async def list_periodic_devices(
    reference: Reference,
    request: Request,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{14,16}$", description="`next` of the previous page")] = None,
    limit: Limit = 100,
) -> Response:
    """List the devices of a session with their counts and last fix, ordered by IMEI."""
    refuse_unknown(request, ("cursor", "limit"))
    found = await gateway_of(request).periodic.devices(
        reference, after=cursor, limit=limit, caller=caller_of(request), request_id=request_id_of(request)
    )
    return json_response({"devices": [to_session_device(view) for view in found.devices], "next": found.next})


@router.get(
    "/periodic/{reference}/reports",
    summary="The reports of a session",
    response_model=ReportsAnswer,
    responses={**REPORTS_RESPONSES, 404: _READING[404]},
)
async def list_periodic_reports(
    reference: Reference,
    request: Request,
    account: Account = None,
    type_: Type = None,
    status: Status = None,
    flag: Flag = None,
    since: Since = None,
    until: Until = None,
    received_since: ReceivedSince = None,
    received_until: ReceivedUntil = None,
    bbox: BoxText = None,
    order: Order = "desc",
    cursor: Cursor = None,
    limit: ReportLimit = None,
) -> Response:
    """List or export the reports of a session, stop reports included, in the formats of `/reports`."""
    refuse_unknown(request, reports.PAGE_OF_REPORTS)
    wanted = ReportFilter(
        session_id=await gateway_of(request).periodic.id_of(reference, reach=caller_of(request).reach),
        account=account,
        type=type_,
        status=status,
        flag=flag,
        since=since,
        until=until,
        received_since=received_since,
        received_until=received_until,
        box=box_of(bbox),
        oldest_first=order == "asc",
    )
    return await reports.answer_reports(request, wanted, cursor=cursor, limit=limit)


@router.delete(
    "/periodic/{reference}", summary="Stop a session", response_model=schemas.StoppedAnswer, responses=_STOP_RESPONSES
)
async def stop_periodic(reference: Reference, request: Request, mdn: Mdns = None) -> Response:
    """Stop all devices of a session, or some of them; safe to repeat.

    A device that is stopping already is not stopped again. Each device that could not be stopped is listed with its
    problem.
    """
    refuse_unknown(request, ("mdn",), repeatable=("mdn",))
    request_id = request_id_of(request)
    stopped = await gateway_of(request).periodic.stop(
        reference, list(dict.fromkeys(mdn or ())), caller=caller_of(request), request_id=request_id
    )
    return json_response(to_stopped(stopped, request_id))


def _to_response(answer: StoredAnswer) -> Response:
    headers = {"Location": f"/periodic/{public_id(answer.session_id)}"} if answer.session_id else None
    media_type = MEDIA_TYPE if answer.status >= _PROBLEM_FROM else "application/json"
    return Response(answer.body, answer.status, headers, media_type)
