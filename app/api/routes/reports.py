"""Reports and positions: as pages, as streams, and one by one."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.gateway import check_still_permitted, gateway_of
from app.api.negotiation import preferred
from app.api.parameters import Cursor, Limit, foreign_number, id_of, refuse_unknown
from app.api.rendering import GEOJSON, instant
from app.api.report_parameters import (
    Account,
    BoxText,
    Esn,
    Flag,
    HolderCursor,
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
    holder_of,
    session_id_of,
    to_cursor,
)
from app.api.report_rendering import to_report, to_report_feature
from app.api.report_streams import CSV, NDJSON, stream
from app.api.routes.callbacks import raw_body
from app.api.schemas import reports as schemas
from app.errors import NotFound
from app.identifiers import is_foreign, readings
from app.storage import callbacks, reports
from app.storage.reports import ReportFilter, ReportRecord
from app.storage.rows import public_id

router = APIRouter(tags=["reports"])

JSON = "application/json"
Id = Annotated[str, Path(max_length=64, description="the report's id")]
PAGE_OF_REPORTS = (
    *("cursor", "limit", "order", "since", "until", "receivedSince", "receivedUntil"),
    *("type", "status", "flag", "bbox", "account"),
)
_WHOSE_REPORTS = ("transactionId", "sessionId", "imei", "meid", "esn", "mdn", "name")
_LIMIT = 100
_PAGE_OF_POSITIONS = ("cursor", "limit", "bbox", "account")


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
    spreadsheet would take for a formula.
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
    media_type = preferred(request.headers.get("accept"), (JSON, GEOJSON, CSV, NDJSON))
    after = after_of(cursor)
    gateway = gateway_of(request)
    wanted = replace(wanted, reach=caller_of(request).reach)
    await gateway.writer.drained()
    if media_type in (CSV, NDJSON):
        named = (wanted.device_id, wanted.mdn and f"mdn:{wanted.mdn}", wanted.name and f"name:{wanted.name}")
        device = next(filter(None, named), None)
        await gateway.audit.commit(
            actor_of(request), "reports.export", "accepted", account=wanted.account, device=device, subject=media_type
        )
        slot = gateway.streams.slot(caller_of(request).key_id)
        check = partial(check_still_permitted, request)
        exported = reports.export(gateway.database, wanted, after=after, limit=limit)
        return stream(exported, media_type, slot, check)
    page = await reports.page(gateway.database, wanted, after=after, limit=limit or _LIMIT)
    _note_read(request, page.reports)
    return _listed("reports", page.reports, public_id(page.next.id) if page.next else None, media_type)


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
    gateway = gateway_of(request)
    await gateway.writer.drained()
    reach = caller_of(request).reach
    report = await reports.find(gateway.database, key, reach=reach)
    if report is None:
        raise NotFound("There is no such report.")
    callback = None
    # A callback may tell of other devices, too.
    if report.callback_id is not None and reach.devices is None:
        async with gateway.database.session() as session:
            callback = await callbacks.find(session, report.callback_id, reach)
    source = callback and {
        "id": public_id(callback.id),
        "receivedAt": instant(callback.received_at),
        **raw_body(callback.body),
    }
    _note_read(request, [report], report_id=key.hex)
    return _answered({**to_report(report), "callback": source, "raw": report.raw}, JSON)


@router.get(
    "/devices/{identifier:path}/location",
    summary="The latest known position of a device",
    response_model=schemas.ReportAnswer,
    responses=schemas.LOCATION_RESPONSES,
)
async def get_device_location(
    request: Request,
    identifier: Annotated[str, Path(max_length=128, description="IMEI, MEID, ESN, MDN, or your own name for it")],
) -> Response:
    """Show the report with the device's latest fix, by the time of the fix; no provider is asked."""
    refuse_unknown(request, ())
    media_type = preferred(request.headers.get("accept"), (JSON, GEOJSON))
    gateway = gateway_of(request)
    reach = caller_of(request).reach
    await gateway.writer.drained()
    # No text in the database holds a NUL, and none may be sent to it.
    known = readings(identifier.replace("\x00", ""))
    report = None
    if known.mdn is not None:
        report = await reports.latest_of_mdn(gateway.database, known.mdn, datetime.now(UTC), reach=reach)
    if report is None:
        report = await reports.latest_of_device(gateway.database, known, reach=reach)
    if report is None:
        raise foreign_number() if is_foreign(identifier) else NotFound("No position of this device is stored.")
    gateway.audit.record(
        actor_of(request),
        "position.read",
        "located",
        account=report.account,
        device=report.device,
        provider=report.provider,
        report_id=report.id.hex,
    )
    return _answered(to_report_feature(report) if media_type == GEOJSON else to_report(report), media_type)


@router.get(
    "/positions",
    summary="The latest known position of each device",
    response_model=schemas.PositionsAnswer,
    responses=schemas.POSITIONS_RESPONSES,
)
async def list_positions(
    request: Request, bbox: BoxText = None, account: Account = None, cursor: HolderCursor = None, limit: Limit = 100
) -> Response:
    """List the report with the latest fix of each device, for a map.

    Every device appears once, in an order that does not change while devices move.
    """
    refuse_unknown(request, _PAGE_OF_POSITIONS)
    media_type = preferred(request.headers.get("accept"), (JSON, GEOJSON))
    box, after = box_of(bbox), holder_of(cursor)
    gateway = gateway_of(request)
    await gateway.writer.drained()
    reach = caller_of(request).reach
    page = await reports.positions_page(
        gateway.database, box=box, account=account, after=after, limit=limit, reach=reach
    )
    _note_read(request, page.reports)
    return _listed("positions", page.reports, to_cursor(page.next) if page.next else None, media_type)


def _note_read(request: Request, found: Sequence[ReportRecord], *, report_id: str | None = None) -> None:
    """Leave an audit row about reports that were shown; it names a device, and an account, if all are of one."""
    if not found:
        return
    devices, accounts = {report.device for report in found}, {report.account for report in found}
    gateway_of(request).audit.record(
        actor_of(request),
        "reports.read",
        "shown",
        account=found[0].account if len(accounts) == 1 else None,
        device=found[0].device if len(devices) == 1 else None,
        report_id=report_id,
        subject=f"{len(found)} reports of {len(devices)} devices",
    )


def _listed(name: str, found: Sequence[ReportRecord], following: str | None, media_type: str) -> Response:
    if media_type == GEOJSON:
        features = [to_report_feature(report) for report in found]
        return _answered({"type": "FeatureCollection", "features": features, "next": following}, GEOJSON)
    return _answered({name: [to_report(report) for report in found], "next": following}, JSON)


def _answered(content: dict[str, Any], media_type: str) -> Response:
    return Response(orjson.dumps(content), headers={"Vary": "Accept"}, media_type=media_type)
