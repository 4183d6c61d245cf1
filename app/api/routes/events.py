"""Events: pages to poll, and a stream to follow."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.event_stream import EVENT_STREAM, EventStream
from app.api.gateway import check_still_permitted, gateway_of
from app.api.negotiation import preferred
from app.api.parameters import refuse_unknown
from app.api.rendering import JSON
from app.api.report_parameters import Account, Esn, Imei, Mdn, Meid, Transaction, device_id_of, session_id_of
from app.api.schemas import events as schemas
from app.errors import FieldError, InvalidArgument
from app.events import TYPES, Cursor, EventFilter, Start, matching

router = APIRouter(tags=["events"])

_LONGEST_CURSOR = 4096
After = Annotated[
    str | None,
    Query(
        max_length=_LONGEST_CURSOR,
        description="`next` of the previous page, or the `id` of a streamed event; or `earliest`, or `latest`",
    ),
]
Types = Annotated[
    str | None,
    Query(
        max_length=1000,
        description=f"separated by commas; `location.*` matches a family. Types: {', '.join(TYPES)}",
        examples=["location.report.located,periodic.*"],
    ),
]
SessionId = Annotated[
    str | None, Query(alias="sessionId", max_length=64, description="events of this periodic session")
]
Wait = Annotated[
    float, Query(ge=0, le=30, description="for how many seconds to wait for the first event where there is none yet")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="events per page")]
LastEventId = Annotated[
    str | None,
    Header(max_length=_LONGEST_CURSOR, description="as browsers send it when they connect again; precedes `after`"),
]
_WORDS: dict[str | None, Start | None] = {None: None, "earliest": "earliest", "latest": "latest"}
_FILTERS = ("types", "account", "imei", "meid", "esn", "mdn", "transactionId", "sessionId")


@router.get(
    "/events",
    summary="Read events, and wait for them",
    response_model=schemas.EventsAnswer,
    responses=schemas.EVENTS_RESPONSES,
)
async def list_events(
    request: Request,
    after: After = None,
    types: Types = None,
    account: Account = None,
    imei: Imei = None,
    meid: Meid = None,
    esn: Esn = None,
    mdn: Mdn = None,
    transaction: Transaction = None,
    session: SessionId = None,
    wait: Wait = 0,
    limit: Limit = 100,
) -> Response:
    """List the events after a cursor, in the order in which they became visible.

    Continue with `next`, which is never null: every event is in exactly one page, also when others are being stored
    meanwhile, on any replica. A page may be short or empty although more follow, because with filters it searches a
    part of the log. Events are kept for some days; an older cursor is answered with 410.
    """
    refuse_unknown(request, ("after", "wait", "limit", *_FILTERS))
    preferred(request.headers.get("accept"), (JSON,))
    wanted = EventFilter(
        types=_types_of(types),
        account=account,
        device_id=device_id_of(imei=imei, meid=meid, esn=esn),
        mdn=mdn,
        transaction_id=transaction,
        session_id=session_id_of(session),
        reach=caller_of(request).reach,
    )
    start = _start_of(after, "/query/after") or "earliest"
    page = await gateway_of(request).events.page(wanted, actor_of(request), start=start, limit=limit, wait_s=wait)
    if wait:
        await check_still_permitted(request)
    content = b'{"events":[%b],"next":"%b"}' % (b",".join(one.json for one in page.events), page.next.encode())
    return Response(content, media_type=JSON)


@router.get(
    "/events/stream",
    summary="Follow events",
    response_class=Response,
    responses=schemas.STREAM_RESPONSES,
)
async def stream_events(
    request: Request,
    after: After = None,
    types: Types = None,
    account: Account = None,
    imei: Imei = None,
    meid: Meid = None,
    esn: Esn = None,
    mdn: Mdn = None,
    transaction: Transaction = None,
    session: SessionId = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Send events as they happen, as server-sent events: `id` is a cursor, `event` the type, `data` the CloudEvent.

    Without a cursor it begins with what happens next. It sends a comment when there is nothing else to send, and ends
    with `retry` when the gateway stops; clients connect again with `Last-Event-ID`, and miss nothing.
    """
    refuse_unknown(request, ("after", *_FILTERS))
    preferred(request.headers.get("accept"), (EVENT_STREAM,))
    wanted = EventFilter(
        types=_types_of(types),
        account=account,
        device_id=device_id_of(imei=imei, meid=meid, esn=esn),
        mdn=mdn,
        transaction_id=transaction,
        session_id=session_id_of(session),
        reach=caller_of(request).reach,
    )
    sent = _start_of(last_event_id, "/header/Last-Event-ID") if last_event_id else _start_of(after, "/query/after")
    if request.scope.get("is_head"):
        return Response(media_type=EVENT_STREAM)
    gateway, by = gateway_of(request), actor_of(request)
    place = await gateway.events.place(sent or "latest")
    selection = await gateway.events.begin(wanted, by)
    return EventStream(
        gateway.events.follow(place),
        place,
        selection,
        slot=gateway.event_streams.slot(by.key_id),
        check=partial(check_still_permitted, request),
        look_up=partial(gateway.events.selection, wanted),
        on_end=partial(gateway.events.end, wanted, by),
    )


def _types_of(text: str | None) -> frozenset[str] | None:
    """Read names and families of types.

    Raises:
        InvalidArgument: One of them matches nothing.
    """
    if text is None:
        return None
    try:
        return matching(part.strip() for part in text.split(","))
    except ValueError as error:
        detail = f"must be types, or families such as location.*, separated by commas; types are {', '.join(TYPES)}"
        raise _invalid("/query/types", "UNKNOWN_VALUE", detail) from error


def _start_of(text: str | None, pointer: str) -> Start | None:
    """Read where to begin.

    Raises:
        InvalidArgument: It is no cursor of ours.
    """
    try:
        return _WORDS[text] if text in _WORDS else Cursor.parse(text or "")
    except ValueError as error:
        detail = "must be `next` of a page, the `id` of a streamed event, `earliest` or `latest`"
        raise _invalid(pointer, "INVALID_FORMAT", detail) from error


def _invalid(pointer: str, code: str, detail: str) -> InvalidArgument:
    return InvalidArgument("A parameter is not valid.", errors=(FieldError(pointer=pointer, code=code, detail=detail),))
