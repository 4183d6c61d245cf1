"""Answers as they go over the wire: JSON or GeoJSON, camelCase, instants with `Z`."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response

from app.accuracy import Accuracy
from app.api.answers import DeviceAnswer, LocatedAnswer, LocationAnswer
from app.api.negotiation import preferred
from app.api.problems import to_attempt, to_problem
from app.ids import public_id
from app.instants import to_text
from app.list_page import EntryT, ListPage
from app.locate import LocateResult
from app.model import Device, Fix

instant = to_text

JSON = "application/json"
GEOJSON = "application/geo+json"


def json_response(content: Any, status: int = 200, *, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def page_response(name: str, page: ListPage[EntryT], to_json: Callable[[EntryT], Mapping[str, Any]]) -> Response:
    """Answer with a page of a list, under the list's name."""
    following = None if page.next is None else public_id(page.next)
    return json_response({name: [to_json(entry) for entry in page.entries], "next": following})


def wants(request: Request, media_type: str) -> bool:
    """Return whether the caller asks for a media type by name, and prefers it to JSON.

    Raises:
        NotAcceptable: The caller takes neither.
    """
    accept = request.headers.get("accept", "").lower()
    return media_type in accept and preferred(accept, (JSON, media_type)) == media_type


def to_location(fix: Fix, accuracy: Accuracy, age_s: float | None = None) -> LocationAnswer:
    """Write a fix as `location`; `age_s` where it stands for a position that could not be had."""
    written: LocationAnswer = {
        "latitude": fix.latitude_deg,
        "longitude": fix.longitude_deg,
        "accuracy": accuracy.radius_m,
        "confidence": accuracy.confidence_pct,
        "timestamp": instant(fix.fixed_at),
        "source": fix.source,
        "provider": fix.provider,
        "cached": fix.cached,
        "accuracyBasis": accuracy.basis,
        "reported": {"accuracy": fix.accuracy_m, "confidence": fix.confidence_pct},
    }
    if age_s is not None:
        written["stale"], written["age"] = True, age_s
    return written


def to_device(device: Device) -> DeviceAnswer:
    """Write the identifiers that are known."""
    written = {"name": device.name, device.kind or "imei": device.id, "mdn": device.mdn, "account": device.account}
    return cast("DeviceAnswer", {name: value for name, value in written.items() if value is not None})


def to_answer(answer: LocateResult, request_id: str) -> LocatedAnswer:
    """Write an answer without the request's id, as it also stands in a batch."""
    written: LocatedAnswer = {
        "device": to_device(answer.device),
        "location": to_location(answer.fix, answer.accuracy, answer.age_s),
        "attempts": [to_attempt(attempt) for attempt in answer.attempts],
        "hints": list(answer.hints),
    }
    if answer.fix.qos_met is not None:
        written["qosMet"] = answer.fix.qos_met
    if answer.accuracy_met is not None:
        written["accuracyMet"] = answer.accuracy_met
    if answer.problem is not None:
        written["problem"] = to_problem(answer.problem, request_id)
    return written


def to_feature(answer: LocateResult, request_id: str) -> dict[str, Any]:
    """Write an answer as a GeoJSON Feature (RFC 7946) with flat properties."""
    location: dict[str, Any] = {**to_location(answer.fix, answer.accuracy, answer.age_s)}
    longitude, latitude = location.pop("longitude"), location.pop("latitude")
    reported = location.pop("reported")
    location["reportedAccuracy"], location["reportedConfidence"] = reported["accuracy"], reported["confidence"]
    if answer.accuracy_met is not None:
        location["accuracyMet"] = answer.accuracy_met
    if answer.problem is not None:
        location["problemCode"] = answer.problem.code
    if answer.fix.qos_met is not None:
        location["qosMet"] = answer.fix.qos_met
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        "properties": {"requestId": request_id, **to_device(answer.device), **location, "hints": list(answer.hints)},
    }
