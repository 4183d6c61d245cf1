"""Answers of reports and positions."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.api import examples
from app.api.answers import Next, ReportAnswer, Timestamp
from app.api.geoparquet import PARQUET
from app.api.rendering import GEOJSON
from app.api.report_formats import CSV, NDJSON
from app.api.report_rendering import FLAT_MEMBERS
from app.api.schemas.operations import CallbackBodyAnswer
from app.api.track_formats import GPX, KML
from app.errors import InvalidArgument, NotAcceptable, NotFound


class ReportsAnswer(TypedDict):
    """Reports, newest first by the time of the fix or the error."""

    reports: list[ReportAnswer]
    next: Next


class PositionsAnswer(TypedDict):
    """The report with the latest fix of each device."""

    positions: list[ReportAnswer]
    next: Next


class TrackAnswer(TypedDict):
    """The located reports of a device, oldest fix first."""

    track: list[ReportAnswer]
    next: Next


class ReportCallbackAnswer(CallbackBodyAnswer):
    """A callback as received."""

    id: str
    receivedAt: Timestamp


class ReportWithSourceAnswer(ReportAnswer):
    """A report with its source."""

    callback: Annotated[
        ReportCallbackAnswer | None,
        Field(description="null if the report is not from a callback, or the callback is no longer kept"),
    ]
    raw: Annotated[str | None, Field(description="the provider's answer, for fixes of `/locate`")]


_LOCATION = {
    "latitude": 42.09551,
    "longitude": -71.26483,
    "accuracy": 35.0,
    "confidence": None,
    "timestamp": "2024-05-17T14:30:05Z",
    "source": "network",
    "provider": "thingspace",
    "cached": False,
}
REPORT_EXAMPLE: dict[str, Any] = {
    "id": "01HY3J6Q48J8Q2R4ZC1V7N5T9B",
    "transactionId": "0d5c2a1e-5a2b-4c11-9d1f-3f6b7b0c8e55",
    "sessionId": "01HY3J5Z8M4C0M8T5Y6Z7A8B9C",
    "account": "0844559123-00001",
    "device": {"imei": "990001123456782", "mdn": "5085550101"},
    "type": "location",
    "status": "located",
    "location": _LOCATION,
    "error": None,
    "provider": "thingspace",
    "reportedAs": "DeviceLocation",
    "qosMet": None,
    "flags": [],
    "receivedAt": "2024-05-17T14:30:07.412Z",
}
_FEATURE = {
    "type": "Feature",
    "id": REPORT_EXAMPLE["id"],
    "geometry": {"type": "Point", "coordinates": [-71.26483, 42.09551]},
    "properties": {"imei": "990001123456782", "accuracy": 35.0, "timestamp": "2024-05-17T14:30:05Z"},
}
_TRACK_FEATURE = {
    "type": "Feature",
    "geometry": {"type": "LineString", "coordinates": [[-71.26483, 42.09551], [-71.26502, 42.09604]]},
    "properties": {
        "name": "990001123456782",
        "coordinateProperties": {
            "times": ["2024-05-17T14:30:05Z", "2024-05-17T14:35:05Z"],
            "accuracies": [35.0, 20.0],
            "sources": ["network", "network"],
        },
    },
    "next": None,
}
_FEATURE_CONTENT = {"schema": {"type": "object", "title": "GeoJSON Feature"}, "example": _FEATURE}
_COLLECTION_CONTENT = {
    "schema": {"type": "object", "title": "GeoJSON FeatureCollection"},
    "example": {"type": "FeatureCollection", "features": [_FEATURE], "next": None},
}
_LISTING = examples.problems(*examples.ACCESS, InvalidArgument, NotAcceptable)
_READING = examples.problems(*examples.ACCESS, NotFound, NotAcceptable, InvalidArgument)


def _answers(description: str, content: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": content}}


REPORTS_RESPONSES = {
    **_answers(
        "Reports, newest first",
        {
            "application/json": {"example": {"reports": [REPORT_EXAMPLE], "next": None}},
            GEOJSON: _COLLECTION_CONTENT,
            CSV: {"schema": {"type": "string"}, "example": ",".join(FLAT_MEMBERS)},
            NDJSON: {"schema": {"type": "string"}},
            PARQUET: {"schema": {"type": "string", "format": "binary"}},
        },
    ),
    **_LISTING,
}
REPORT_RESPONSES = {
    **_answers("The report", {"application/json": {"example": {**REPORT_EXAMPLE, "callback": None, "raw": None}}}),
    **_READING,
}
LOCATION_RESPONSES = {
    **_answers(
        "The report with the latest fix", {"application/json": {"example": REPORT_EXAMPLE}, GEOJSON: _FEATURE_CONTENT}
    ),
    **_READING,
}
POSITIONS_RESPONSES = {
    **_answers(
        "The latest position of each device",
        {"application/json": {"example": {"positions": [REPORT_EXAMPLE], "next": None}}, GEOJSON: _COLLECTION_CONTENT},
    ),
    **_LISTING,
}
TRACK_RESPONSES = {
    **_answers(
        "The track of the device",
        {
            "application/json": {"example": {"track": [REPORT_EXAMPLE], "next": None}},
            GEOJSON: {"schema": {"type": "object", "title": "GeoJSON Feature"}, "example": _TRACK_FEATURE},
            GPX: {"schema": {"type": "string"}},
            KML: {"schema": {"type": "string"}},
        },
    ),
    **_READING,
}
