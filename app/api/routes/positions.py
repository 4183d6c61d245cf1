"""Where devices are: the latest position of one, and of all."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.answers import ReportAnswer
from app.api.gateway import gateway_of
from app.api.negotiation import preferred
from app.api.parameters import Limit, foreign_number, refuse_unknown
from app.api.rendering import GEOJSON, JSON
from app.api.report_answers import answered, listed
from app.api.report_parameters import Account, BoxText, HolderCursor, box_of, holder_of, to_cursor
from app.api.report_rendering import to_report, to_report_feature
from app.api.schemas import reports as schemas
from app.errors import NotFound
from app.identifiers import is_foreign

router = APIRouter(tags=["reports"])

_PAGE_OF_POSITIONS = ("cursor", "limit", "bbox", "account")


@router.get(
    "/devices/{identifier:path}/location",
    summary="The latest known position of a device",
    response_model=ReportAnswer,
    responses=schemas.LOCATION_RESPONSES,
)
async def get_device_location(
    request: Request,
    identifier: Annotated[str, Path(max_length=128, description="IMEI, MEID, ESN, MDN, or your own name for it")],
) -> Response:
    """Show the report with the device's latest fix, by the time of the fix; no provider is asked."""
    refuse_unknown(request, ())
    media_type = preferred(request.headers.get("accept"), (JSON, GEOJSON))
    reach = caller_of(request).reach
    report = await gateway_of(request).positions.latest(identifier, actor_of(request), reach=reach)
    if report is None:
        raise foreign_number() if is_foreign(identifier) else NotFound("No position of this device is stored.")
    return answered(to_report_feature(report) if media_type == GEOJSON else to_report(report), media_type)


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
    page = await gateway_of(request).positions.page(
        actor_of(request), reach=caller_of(request).reach, box=box, account=account, after=after, limit=limit
    )
    return listed("positions", page.reports, to_cursor(page.next) if page.next else None, media_type)
