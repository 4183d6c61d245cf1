"""What providers sent us: the raw callbacks, and replaying them."""

import base64
from functools import partial
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Path, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.access.permissions import check_sees_all_devices
from app.api import examples
from app.api.access import actor_of, caller_of
from app.api.gateway import check_still_asked, gateway_of
from app.api.parameters import Cursor, Limit, Since, Until, id_of, place_of, refuse_unknown
from app.api.rendering import instant, json_response, page_response
from app.api.schemas import operations as schemas
from app.callbacks import CallbackFilter, StoredCallback
from app.callbacks.replay import Replayed
from app.caller import Reach
from app.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidArgument,
    MalformedJson,
    MalformedRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from app.ids import public_id

router = APIRouter(tags=["callbacks"])

State = Annotated[Literal["stored", "quarantined"] | None, Query(description="only callbacks in this state")]
Signature = Annotated[
    Literal["valid", "invalid", "missing", "unchecked"] | None,
    Query(
        description="only callbacks with this verdict on their signature; `unchecked` where"
        " `THINGSPACE_CALLBACK_SIGNATURE` is `off`, or the listener's secret is not known"
    ),
]
Id = Annotated[str, Path(max_length=64, description="the callback's id")]
ProviderName = Annotated[str, Path(max_length=64, description="`thingspace`")]
Token = Annotated[str, Path(max_length=200, description="the secret part of the registered address")]
_REFUSALS = (
    MalformedRequest,
    MalformedJson,
    Unauthenticated,
    NotFound,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidArgument,
    Unavailable,
    GatewayError,
)
_FILTERS = ("state", "account", "service", "signature", "since", "until")


@router.get(
    "/callbacks",
    summary="List callbacks, newest first",
    response_model=schemas.CallbacksAnswer,
    responses=examples.problems(*examples.ACCESS, InvalidArgument),
)
async def list_callbacks(
    request: Request,
    state: State = None,
    account: Annotated[
        str | None, Query(max_length=64, description="only callbacks to this account's listener")
    ] = None,
    service: Annotated[str | None, Query(max_length=64, description="`DeviceLocation` or `Location`")] = None,
    signature: Signature = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """List raw callbacks, byte for byte, with their state."""
    refuse_unknown(request, (*_FILTERS, "cursor", "limit"))
    wanted = CallbackFilter(
        state=state,
        account=account,
        service=service,
        signature=signature,
        since=since,
        until=until,
        before=place_of(cursor),
        reach=_reach_of(request),
    )
    found = await gateway_of(request).callbacks.page(wanted, actor_of(request), limit=limit)
    return page_response("callbacks", found, to_callback)


@router.post(
    "/callbacks/replay",
    summary="Replay many callbacks",
    response_model=schemas.ReplayAnswer,
    responses=examples.problems(*examples.ACCESS, InvalidArgument),
)
async def replay_callbacks(
    request: Request,
    state: State = "quarantined",
    account: Annotated[
        str | None, Query(max_length=64, description="only callbacks to this account's listener")
    ] = None,
    service: Annotated[str | None, Query(max_length=64, description="`DeviceLocation` or `Location`")] = None,
    signature: Signature = None,
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Annotated[int | None, Query(ge=1, le=1000, description="replay at most this many; default: all")] = None,
) -> Response:
    """Decode matching callbacks again, newest first: by default those in quarantine.

    With `limit` the answer has `next`, to go on with as `cursor`, and, without `cursor`, `total`: how many match (null
    for a million or more). A replay stops early if the client closes the connection or its key is revoked; callbacks
    replayed until then stay replayed.
    """
    refuse_unknown(request, (*_FILTERS, "cursor", "limit"))
    wanted = CallbackFilter(
        state=state,
        account=account,
        service=service,
        signature=signature,
        since=since,
        until=until,
        before=place_of(cursor),
        reach=_reach_of(request),
    )
    replay = gateway_of(request).replay
    counted = {"total": await replay.count(wanted)} if limit is not None and cursor is None else {}
    try:
        summary = await replay.every(wanted, partial(check_still_asked, request), limit=limit)
    except ClientDisconnect:
        return Response(status_code=499)
    paged = {} if limit is None else {"next": summary.last and public_id(summary.last)}
    return json_response({"stored": summary.stored, "quarantined": summary.quarantined, **paged, **counted})


@router.get(
    "/callbacks/{id}",
    summary="One raw callback",
    response_model=schemas.CallbackAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def get_callback(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Show a callback with its raw bytes."""
    key, reach = id_of(id, "callback"), _reach_of(request)
    return json_response(to_callback(await gateway_of(request).callbacks.find(key, actor_of(request), reach=reach)))


@router.post(
    "/callbacks/{id}/replay",
    summary="Replay one callback",
    response_model=schemas.ReplayedAnswer,
    responses=examples.problems(*examples.ACCESS, NotFound, InvalidArgument),
)
async def replay_callback(id: Id, request: Request) -> Response:  # noqa: A002 -- the name in the path
    """Decode a callback again; reports that are already stored are not stored twice."""
    reach = _reach_of(request)
    return json_response(to_replayed(await gateway_of(request).replay.one(id_of(id, "callback"), reach=reach)))


def _reach_of(request: Request) -> Reach:
    """Return which accounts' callbacks a caller sees; one callback may be about many devices.

    Raises:
        PermissionDenied: The caller's key is restricted to some devices.
    """
    caller = caller_of(request)
    check_sees_all_devices(caller)
    return caller.reach


@router.post(
    "/callbacks/{provider}/{token}",
    summary="Receive a callback",
    response_class=Response,
    response_description="Stored",
    responses=examples.problems(*_REFUSALS),
    openapi_extra={
        "security": [],
        "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True},
    },
)
async def receive_callback(provider: ProviderName, token: Token) -> Response:  # noqa: ARG001 -- documented, and never used
    """Store a provider's callback; 200 means that it is committed.

    No API key is needed, because the token in the path cannot be guessed. `provider` is `thingspace`. A body with
    `Content-Encoding: gzip` or `deflate`, or in UTF-16, is stored decoded, in UTF-8; a signature covers the bytes as
    sent.
    """
    # Real callbacks never reach this route (see `webhook`); any request here has an unknown token.
    raise NotFound("There is no listener at this address.")


def to_callback(row: StoredCallback) -> schemas.CallbackAnswer:
    """Write a callback; the body as text where it is UTF-8, else in base64."""
    return {
        "id": public_id(row.id),
        "receivedAt": instant(row.received_at),
        "provider": row.provider,
        "account": row.account,
        "service": row.service,
        "state": cast("schemas.CallbackState", row.state),
        "reason": row.reason,
        "signature": row.signature,
        "flags": list(row.flags or ()),
        **raw_body(row.body),
    }


def raw_body(body: bytes) -> schemas.CallbackBodyAnswer:
    """Write raw bytes as `body` where they are UTF-8 text, else as `bodyBase64`."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}


def to_replayed(replayed: Replayed) -> schemas.ReplayedAnswer:
    """Write the outcome of a replay."""
    return {
        "id": public_id(replayed.id),
        "state": cast("schemas.CallbackState", replayed.state),
        "reports": replayed.reports,
        "reason": replayed.reason,
    }
