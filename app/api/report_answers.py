"""How reports are answered with, and what is written down about that."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.api.access import actor_of
from app.api.gateway import gateway_of
from app.api.rendering import GEOJSON, JSON
from app.api.report_rendering import to_report, to_report_feature
from app.storage.reports import ReportRecord


def note_read(request: Request, found: Sequence[ReportRecord], *, report_id: str | None = None) -> None:
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


def listed(name: str, found: Sequence[ReportRecord], following: str | None, media_type: str) -> Response:
    """Answer with a page of reports, as JSON or as GeoJSON."""
    if media_type == GEOJSON:
        features = [to_report_feature(report) for report in found]
        return answered({"type": "FeatureCollection", "features": features, "next": following}, GEOJSON)
    return answered({name: [to_report(report) for report in found], "next": following}, JSON)


def answered(content: dict[str, Any], media_type: str) -> Response:
    """Answer in the media type that was negotiated."""
    return Response(orjson.dumps(content), headers={"Vary": "Accept"}, media_type=media_type)
