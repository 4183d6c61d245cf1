"""Responses with reports."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from app.api.rendering import GEOJSON, JSON
from app.api.report_rendering import to_report, to_report_feature
from app.reports import ReportRecord


def listed(name: str, found: Sequence[ReportRecord], following: str | None, media_type: str) -> Response:
    """Answer with a page of reports, as JSON or as GeoJSON."""
    if media_type == GEOJSON:
        features = [to_report_feature(report) for report in found]
        return answered({"type": "FeatureCollection", "features": features, "next": following}, GEOJSON)
    return answered({name: [to_report(report) for report in found], "next": following}, JSON)


def answered(content: Mapping[str, Any], media_type: str) -> Response:
    """Answer in the media type that was negotiated."""
    return Response(orjson.dumps(content), headers={"Vary": "Accept"}, media_type=media_type)
