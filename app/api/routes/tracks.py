"""The track of a device: where it has been."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of, caller_of
from app.api.gateway import check_still_permitted, gateway_of
from app.api.negotiation import preferred
from app.api.parameters import Cursor, QueryInstant, foreign_number, refuse_unknown
from app.api.rendering import GEOJSON, JSON
from app.api.report_answers import answered, listed
from app.api.report_parameters import after_of
from app.api.report_streams import ReportStream
from app.api.schemas import reports as schemas
from app.api.track_formats import formats_of, to_track_feature
from app.errors import NotFound
from app.identifiers import is_foreign
from app.ids import public_id
from app.reports import PAGE

router = APIRouter(tags=["devices"])


@router.get(
    "/devices/{identifier:path}/track",
    summary="Where a device has been",
    response_model=schemas.TrackAnswer,
    responses=schemas.TRACK_RESPONSES,
)
async def get_track(
    request: Request,
    identifier: Annotated[str, Path(max_length=128, description="IMEI, MEID, ESN, MDN, or your own name for it")],
    since: Annotated[QueryInstant, Query(description="fixes at or after this instant, RFC 3339 with offset")] = None,
    until: Annotated[QueryInstant, Query(description="fixes before this instant, RFC 3339 with offset")] = None,
    cursor: Cursor = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=1000, description="fixes per page, by default 100; with GPX and KML: at most so many in all"),
    ] = None,
) -> Response:
    """List the located reports of a device in the order of their fixes, oldest first.

    Fixes that may not be believed (see `flags` of a report) are left out. JSON and GeoJSON are paged: continue until
    `next` is null. GPX and KML hold the whole track between `since` and `until`, or the first `limit` fixes of it.
    """
    refuse_unknown(request, ("since", "until", "cursor", "limit"))
    name = identifier.strip()
    formats = formats_of(name)
    media_type = preferred(request.headers.get("accept"), (JSON, GEOJSON, *formats))
    after = after_of(cursor)
    gateway, by = gateway_of(request), actor_of(request)
    wanted = await gateway.tracks.find(identifier, reach=caller_of(request).reach, since=since, until=until)
    if wanted is None:
        raise foreign_number() if is_foreign(identifier) else NotFound("No device with this identifier is known.")
    if (to := formats.get(media_type)) is not None:
        exported = await gateway.reports.export(wanted, by, media_type=media_type, after=after, limit=limit)
        return ReportStream(exported, to, gateway.streams.slot(by.key_id), partial(check_still_permitted, request))
    page = await gateway.reports.page(wanted, by, after=after, limit=limit or PAGE)
    following = public_id(page.next.id) if page.next else None
    if media_type == GEOJSON:
        return answered({**to_track_feature(page.reports, name), "next": following}, GEOJSON)
    return listed("track", page.reports, following, JSON)
