"""Where ThingSpace's words about a device become ours; pure."""

import re
from dataclasses import dataclass
from datetime import datetime

from app.model import AccountName, Device, DeviceIdKind, Fix, Mdn, ReportError
from app.providers.thingspace import reading
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.times import to_instant
from app.providers.thingspace.wire import Failure, Position, Scalar

LONGEST_IDENTIFIER = 128
_LONGEST_WORDS = 500
_LARGEST_RADIUS_M = 20_040_000.0
FARTHEST_NORTH = 90.0
FARTHEST_EAST = 180.0

_KINDS: dict[str, DeviceIdKind] = {"imei": "imei", "meid": "meid", "esn": "esn"}
_SHAPES: tuple[tuple[re.Pattern[str], DeviceIdKind], ...] = (
    (re.compile(r"\d{14,16}"), "imei"),
    (re.compile(r"[0-9A-Fa-f]{14}"), "meid"),
    (re.compile(r"\d{11}|[0-9A-Fa-f]{8}"), "esn"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a position object came to.

    Attributes:
        fix: The position; None where there is none that can be believed.
        said_at: Its time as ThingSpace states it; None when it states none that can be read.
        flags: What is odd about it.
    """

    fix: Fix | None = None
    said_at: datetime | None = None
    flags: tuple[str, ...] = ()


def latitude_longitude(position: Position) -> tuple[float | None, float | None]:
    """Take latitude and longitude: ThingSpace calls the latitude `x` and the longitude `y`."""
    return reading.number(position.x), reading.number(position.y)


def to_sighting(position: Position, *, cached: bool, now: datetime) -> Sighting:
    """Read a position; one without a readable time gets `now`, so that it is not lost."""
    latitude_deg, longitude_deg = latitude_longitude(position)
    said_at, offset_understood = to_instant(position.time, position.utcoffset)
    flags = () if offset_understood else ("offset_unreadable",)
    if said_at is None and position.time is not None:
        flags = (*flags, "time_unreadable")
    if latitude_deg is None or longitude_deg is None:
        flags = flags if position.x is None and position.y is None else (*flags, "position_unreadable")
        return Sighting(said_at=said_at, flags=flags)
    if abs(latitude_deg) > FARTHEST_NORTH or abs(longitude_deg) > FARTHEST_EAST:
        return Sighting(said_at=said_at, flags=(*flags, _why_out_of_range(latitude_deg, longitude_deg)))
    fix = Fix(
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        accuracy_m=to_accuracy_m(position.radius),
        confidence_pct=None,
        fixed_at=said_at or now,
        source="network",
        provider=NAME,
        cached=cached,
    )
    return Sighting(fix=fix, said_at=said_at, flags=flags)


def _why_out_of_range(latitude_deg: float, longitude_deg: float) -> str:
    swapped = abs(latitude_deg) <= FARTHEST_EAST and abs(longitude_deg) <= FARTHEST_NORTH
    return "axes_probably_swapped" if swapped else "position_out_of_range"


def to_accuracy_m(radius: Scalar) -> float | None:
    """Read a radius in metres; zero, absent and absurd ones say nothing."""
    found = reading.number(radius)
    return found if found is not None and 0 < found <= _LARGEST_RADIUS_M else None


def to_report_error(failure: Failure | None) -> ReportError | None:
    """Read an error object; an empty one is none."""
    if failure is None:
        return None
    type_, info = words(failure.type), words(failure.info)
    at, _ = to_instant(failure.time, failure.utcoffset)
    return ReportError(type=type_, info=info, at=at) if type_ or info or at else None


def words(value: Scalar) -> str | None:
    """Read a vendor's words, at most 500 characters of them."""
    found = reading.text(value)
    return found[:_LONGEST_WORDS] if found else None


def to_device(id_: Scalar, kind: Scalar, mdn: Scalar, account: str | None) -> Device:
    """Read a device's identifiers; an id whose kind is neither stated nor recognizable is left out."""
    written = identifier(id_)
    device_kind = to_kind(written, kind) if written else None
    number = reading.mdn(mdn)
    return Device(
        id=written if device_kind else None,
        kind=device_kind,
        mdn=Mdn(number[:LONGEST_IDENTIFIER]) if number else None,
        account=AccountName(account) if account else None,
    )


def identifier(value: Scalar) -> str | None:
    """Read an opaque identifier; what exceeds 128 characters is cut, since it has to fit an index."""
    found = reading.text(value)
    return found[:LONGEST_IDENTIFIER] if found else None


def to_kind(id_: str, kind: Scalar) -> DeviceIdKind | None:
    """Tell which kind of identifier this is, by its stated kind in any case, else by its shape."""
    stated = reading.text(kind)
    if stated is not None:
        return _KINDS.get(stated.lower())
    return next((found for shape, found in _SHAPES if shape.fullmatch(id_)), None)
