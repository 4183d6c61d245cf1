"""Where the vendor's words meet ours: from a query to a request, and from a reply to a fix. Pure."""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.errors import UnableToLocate
from app.instants import read_instant
from app.model import Evidence, Fix, Located, LocationQuery, ProviderName, Source
from app.plausibility import FIRST_FIX, FUTURE_TIME, TIME_UNREADABLE, doubts_about_time, is_zero_island
from app.provider import Assessment, CallStep
from app.providers.cloudlocate import cell, gnss, wifi, wire
from app.providers.cloudlocate.findings import Findings
from app.providers.cloudlocate.settings import CloudLocateSettings

NAME = ProviderName("cloudlocate")

_DEVICE_ID = re.compile(r"[a-zA-Z0-9:_-]{1,32}")
_REQUEST_ID_LENGTH = 60
_DEVICE_ID_LENGTH = 32
_CONFIDENCE_PCT = 68
_STEPS = (CallStep(name="solve", billed=True),)
_GROUPS: tuple[Source, ...] = ("gnss", "wifi", "cell")
_HINTS = {
    FUTURE_TIME: "cloudlocate: the stated time of the fix lies in the future; a clock is wrong",
    TIME_UNREADABLE: "cloudlocate: the time of the fix could not be read; it carries the time of the answer",
}
_SOURCES: Mapping[str, Source] = {
    "gnss": "gnss",
    "gps": "gnss",
    "wifi": "wifi",
    "wlan": "wifi",
    "cellular": "cell",
    "cell": "cell",
    "cellid": "cell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The usable parts of a query, ready to be sent, and what was found on the way."""

    gnss: wire.GnssMeasurements | None = None
    wifi: list[wire.WiFiMeasurement] | None = None
    cell: wire.CellMeasurements | None = None
    has_wrong_checksum: bool = False
    assessment: Assessment


def prepare(query: LocationQuery, settings: CloudLocateSettings, now: datetime) -> Prepared:
    """Pick the parts of a query that can lead to a position, without calling anybody.

    Raises:
        InvalidArgument: A part is malformed, even beside good parts.
    """
    evidence = query.evidence
    if evidence is None:
        return Prepared(assessment=Assessment(usable=False, reason="No measurements were sent."))
    findings = Findings()
    _check_times(evidence, settings, now, findings)
    to_gnss = gnss.to_measurements(evidence, settings, now, findings)
    to_wifi = wifi.to_measurements(evidence.access_points, findings)
    to_cell = cell.to_measurements(evidence.cell_towers, query.device.imei if settings.send_imei else None, findings)
    findings.raise_errors()
    if not (evidence.gnss or evidence.access_points or evidence.cell_towers):
        findings.leave_out("measurements: no GNSS, Wi-Fi or cell measurement was sent", "", "MISSING")
    return Prepared(
        gnss=to_gnss,
        wifi=to_wifi,
        cell=to_cell,
        has_wrong_checksum=findings.has_wrong_checksum,
        assessment=_to_assessment(findings, _sources(to_gnss, to_wifi, to_cell)),
    )


def _check_times(evidence: Evidence, settings: CloudLocateSettings, now: datetime, findings: Findings) -> None:
    its_own = evidence.gnss.observed_at if evidence.gnss else None
    for pointer, at in (("/observedAt", evidence.observed_at), ("/gnss/observedAt", its_own)):
        if at is not None and (at - now).total_seconds() > settings.max_future_s:
            findings.refuse(pointer, "IN_THE_FUTURE", "Lies in the future; check the clock and the time zone.")


def _sources(*parts: object) -> tuple[Source, ...]:
    return tuple(source for source, part in zip(_GROUPS, parts, strict=True) if part)


def _to_assessment(findings: Findings, sources: tuple[Source, ...]) -> Assessment:
    hints = findings.all_hints()
    if sources:
        return Assessment(usable=True, hints=hints, steps=_STEPS, sources=sources)
    reason = "; ".join(findings.left_out)
    return Assessment(
        usable=False, reason=f"Nothing can be located by: {reason}.", hints=hints, errors=tuple(findings.unusable)
    )


def to_request(query: LocationQuery, prepared: Prepared, request_id: str) -> wire.PositionRequest:
    """Put all usable parts into one call, which is charged at most once."""
    return wire.PositionRequest(
        request_id=request_id[:_REQUEST_ID_LENGTH],
        device_id=to_device_id(query.device.name) if query.device.name else None,
        gnss=prepared.gnss,
        wifi=prepared.wifi,
        cell=prepared.cell,
    )


def to_device_id(name: str) -> str:
    """Keep a name that fits the vendor's limits; map any other to a stable one that does."""
    if _DEVICE_ID.fullmatch(name):
        return name
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DEVICE_ID_LENGTH]


def to_located(
    reply: wire.PositionReply, evidence: Evidence, settings: CloudLocateSettings, *, now: datetime, raw: str
) -> Located:
    """Read the position; its time is that of the caller's measurement, else CloudLocate's.

    Raises:
        UnableToLocate: There is none, or none that can be meant.
    """
    place = reply.location if isinstance(reply.location, dict) else {}
    latitude_deg = to_number(place.get("Lat", reply.lat))
    longitude_deg = to_number(place.get("Lon", reply.lon))
    if latitude_deg is None or longitude_deg is None or abs(latitude_deg) > 90 or abs(longitude_deg) > 180:  # noqa: PLR2004 - degrees of the globe
        raise UnableToLocate(
            "CloudLocate could not work out a position from these measurements.", may_have_been_received=True
        )
    if is_zero_island(latitude_deg, longitude_deg) and settings.zero_is_no_position:
        raise UnableToLocate(
            "CloudLocate answered with a position of zeros, which stands for none.", may_have_been_received=True
        )
    accuracy_m = _to_accuracy(place, reply)
    source = to_source(reply.location_source)
    stated_at = _observed_at(evidence, source) or to_instant(reply.date_time)
    flags = doubts_about_time(stated_at, now)
    fix = Fix(
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        accuracy_m=accuracy_m,
        confidence_pct=None if accuracy_m is None else _CONFIDENCE_PCT,
        fixed_at=stated_at or now,
        source=source,
        provider=NAME,
    )
    return Located(fix=fix, hints=tuple(_HINTS[flag] for flag in flags), raw=raw, billed=True, flags=flags)


def _to_accuracy(place: dict[str, Any], reply: wire.PositionReply) -> float | None:
    for value in (place.get("Unc68"), place.get("Acc"), reply.unc68, reply.acc):
        number = to_number(value)
        if number is not None and number >= 0:
            return number
    return None


def _observed_at(evidence: Evidence, source: Source) -> datetime | None:
    gnss_alone = not evidence.access_points and not evidence.cell_towers
    if evidence.gnss and (source == "gnss" or (source == "unknown" and gnss_alone)):
        return evidence.gnss.observed_at or evidence.observed_at
    return evidence.observed_at


def to_number(value: object) -> float | None:
    """Read a finite number, also from a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and "_" in value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_source(value: object) -> Source:
    """Read which group led to the fix, whatever its spelling."""
    if not isinstance(value, str):
        return "unknown"
    return _SOURCES.get("".join(filter(str.isalnum, value)).lower(), "unknown")


def to_instant(value: object) -> datetime | None:
    """Read a time, UTC unless it has an offset; None if it cannot be read."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    at = read_instant(str(value))
    return at if at is not None and at >= FIRST_FIX else None
