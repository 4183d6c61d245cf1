"""Reports: as pages, as streams, and one by one."""

from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.gateway import check_still_permitted, gateway_of
from app.api.negotiation import preferred
from app.api.parameters import Cursor, id_of, refuse_unknown
from app.api.rendering import JSON, instant
from app.api.report_answers import answered, listed
from app.api.report_formats import FORMATS, chosen
from app.api.report_parameters import (
    Account,
    BoxText,
    Esn,
    Flag,
    Imei,
    Mdn,
    Meid,
    Name,
    Order,
    ReceivedSince,
    ReceivedUntil,
    ReportLimit,
    SessionId,
    Since,
    Status,
    Transaction,
    Type,
    Until,
    after_of,
    box_of,
    device_id_of,
    session_id_of,
)
from app.api.report_rendering import to_report
from app.api.report_streams import ReportStream
from app.api.routes.callbacks import raw_body
from app.api.schemas import reports as schemas
from app.ids import public_id
from app.reports import PAGE, ReportFilter

router = APIRouter(tags=["reports"])

Id = Annotated[str, Path(max_length=64, description="the report's id")]
PAGE_OF_REPORTS = (
    *("cursor", "limit", "order", "since", "until", "receivedSince", "receivedUntil"),
    *("type", "status", "flag", "bbox", "account"),
)
_WHOSE_REPORTS = ("transactionId", "sessionId", "imei", "meid", "esn", "mdn", "name")


@router.get(
    "/reports",
    summary="List or export reports",
    response_model=schemas.ReportsAnswer,
    responses=schemas.REPORTS_RESPONSES,
)
async def list_reports(
    request: Request,
    transaction: Transaction = None,
    session: SessionId = None,
    imei: Imei = None,
    meid: Meid = None,
    esn: Esn = None,
    mdn: Mdn = None,
    name: Name = None,
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
    """List the reports that match every filter, by the time of the fix or the error, newest first.

    JSON and GeoJSON are paged. Without a transaction, session or device, a page searches the next 100,000 reports of
    the time window: it may be short or even empty and still have a `next`. Continue until `next` is null. Cursors stay
    valid while reports arrive.

    `text/csv` and `application/x-ndjson` stream all matching reports as of the time of the request, or the first
    `limit` of them; if the connection breaks off, rows are missing. In CSV, an apostrophe precedes texts that a
    spreadsheet would take for a formula. `application/vnd.apache.parquet` does the same as GeoParquet 1.1, if the
    gateway was installed with it: `pip install 'location-gateway[parquet]'`.
    """
    refuse_unknown(request, (*_WHOSE_REPORTS, *PAGE_OF_REPORTS))
    wanted = ReportFilter(
        transaction_id=transaction,
        session_id=session_id_of(session),
        device_id=device_id_of(imei=imei, meid=meid, esn=esn),
        mdn=mdn,
        name=name,
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
    return await answer_reports(request, wanted, cursor=cursor, limit=limit)


async def answer_reports(request: Request, wanted: ReportFilter, *, cursor: str | None, limit: int | None) -> Response:
    """Answer with a page or a stream of reports, in the media type that the caller prefers.

    Raises:
        NotAcceptable, InvalidArgument: The caller takes none of the media types, or the cursor is none of ours.
        Unavailable: The database is away.
    """
    media_type = chosen(request.headers.get("accept"))
    after = after_of(cursor)
    gateway, by = gateway_of(request), actor_of(request)
    wanted = replace(wanted, reach=caller_of(request).reach)
    if (to := FORMATS.get(media_type)) is not None:
        exported = await gateway.reports.export(wanted, by, media_type=media_type, after=after, limit=limit)
        slot = gateway.streams.slot(by.key_id)
        return ReportStream(exported, to, slot, partial(check_still_permitted, request))
    page = await gateway.reports.page(wanted, by, after=after, limit=limit or PAGE)
    return listed("reports", page.reports, public_id(page.next.id) if page.next else None, media_type)


@router.get(
    "/reports/{id}",
    summary="One report, with its source",
    response_model=schemas.ReportWithSourceAnswer,
    responses=schemas.REPORT_RESPONSES,
)
async def get_report(request: Request, id: Id) -> Response:  # noqa: A002 -- the name in the path
    """Show a report with its source: the raw callback, or the provider's answer."""
    refuse_unknown(request, ())
    preferred(request.headers.get("accept"), (JSON,))
    key = id_of(id, "report")
    found = await gateway_of(request).reports.find(key, actor_of(request), reach=caller_of(request).reach)
    source = found.callback and {
        "id": public_id(found.callback.id),
        "receivedAt": instant(found.callback.received_at),
        **raw_body(found.callback.body),
    }
    return answered({**to_report(found.report), "callback": source, "raw": found.report.raw}, JSON)
