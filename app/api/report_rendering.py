"""Reports as they go over the wire: as JSON, flat for tables, and as GeoJSON features."""

from functools import lru_cache
from typing import Any, cast

from app.api.answers import LocationAnswer, ReportAnswer, ReportDeviceAnswer, ReportErrorAnswer
from app.api.rendering import instant
from app.ids import public_id
from app.model import ReportStatus, ReportType, Source
from app.reports import ReportRecord

_session_id = lru_cache(maxsize=1024)(public_id)
"""Writing an id takes a quarter of the time of a report, and most reports of a page are of one session."""


def to_report(row: ReportRecord) -> ReportAnswer:
    """Write a report as it stands in lists."""
    return {
        "id": public_id(row.id),
        "transactionId": row.transaction_id,
        "sessionId": _session_id(row.session_id) if row.session_id else None,
        "account": row.account,
        "device": _device(row),
        "type": cast("ReportType", row.type),
        "status": cast("ReportStatus", row.status),
        "location": _location(row),
        "error": _error(row),
        "provider": row.provider,
        "reportedAs": row.vendor_type,
        "qosMet": row.qos_met,
        "flags": row.flags or [],
        "receivedAt": instant(row.received_at),
    }


def _device(row: ReportRecord) -> ReportDeviceAnswer:
    written = {row.device_kind or "": row.device, "mdn": row.mdn, "name": row.name}
    return cast("ReportDeviceAnswer", {name: value for name, value in written.items() if name and value is not None})


def _location(row: ReportRecord) -> LocationAnswer | None:
    if row.status != "located":
        return None
    assert row.latitude is not None
    assert row.longitude is not None
    return {
        "latitude": row.latitude,
        "longitude": row.longitude,
        "accuracy": row.accuracy_m,
        "confidence": row.confidence_pct,
        "timestamp": instant(row.at),
        "source": cast("Source", row.source or "unknown"),
        "provider": row.provider,
        "cached": bool(row.cached),
    }


def _error(row: ReportRecord) -> ReportErrorAnswer | None:
    if row.error_type is None and row.error_info is None and row.status != "failed":
        return None
    return {
        "type": row.error_type,
        "info": row.error_info,
        "timestamp": instant(row.error_at) if row.error_at else None,
    }


FLAT_MEMBERS = (
    "id",
    "transactionId",
    "sessionId",
    "account",
    "imei",
    "meid",
    "esn",
    "mdn",
    "name",
    "type",
    "status",
    "latitude",
    "longitude",
    "accuracy",
    "confidence",
    "timestamp",
    "source",
    "cached",
    "errorType",
    "errorInfo",
    "errorTimestamp",
    "provider",
    "reportedAs",
    "flags",
    "receivedAt",
    "qosMet",
)
"""The columns of CSV in their order; new ones are added at the end."""


def to_flat(row: ReportRecord) -> dict[str, Any]:
    """Write a report on one level, with the same members for every report."""
    report: dict[str, Any] = {**to_report(row)}
    flat = dict.fromkeys(FLAT_MEMBERS)
    error = report.pop("error") or {}
    flat.update(report.pop("device"))
    flat.update(report.pop("location") or {})
    flat.update(errorType=error.get("type"), errorInfo=error.get("info"), errorTimestamp=error.get("timestamp"))
    flat.update(report)
    return flat


def to_report_feature(row: ReportRecord) -> dict[str, Any]:
    """Write a report as a GeoJSON Feature with flat properties; without a fix it has no geometry."""
    properties = to_flat(row)
    longitude, latitude = properties.pop("longitude"), properties.pop("latitude")
    geometry = None if longitude is None else {"type": "Point", "coordinates": [longitude, latitude]}
    return {"type": "Feature", "id": properties["id"], "geometry": geometry, "properties": properties}
