"""The answer to `POST /locations`, device by device; pure."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import orjson
from msgspec.structs import replace

from app.errors import MalformedJson, ProviderError, ProviderRefused, UnableToLocate, UnexpectedReply
from app.model import Located, NotLocated, ReportError
from app.plausibility import ERROR_BESIDE_POSITION, FUTURE_TIME, TIME_UNREADABLE, ZERO_ISLAND, doubts_about_time
from app.providers.thingspace import reading, wire
from app.providers.thingspace.devices import to_named_device
from app.providers.thingspace.mapping import Sighting, says_why, to_report_error, to_sighting
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.vendor_errors import by_words, fault_in, to_device_error

CacheMode = Literal["0", "1", "2"]
"""Cached only, free · cached, else current · current, billed (reference, section 3.6)."""

_EVIDENTLY_EARLIER = timedelta(minutes=1)
_HINTS = {
    FUTURE_TIME: "thingspace: the stated time of the fix lies in the future; a clock is wrong",
    TIME_UNREADABLE: "thingspace: the time of the fix could not be read; it carries the time of the answer",
    "offset_unreadable": "thingspace: the time zone of the fix could not be read; UTC was taken",
}
_REASONS = {
    "axes_swapped_suspected": "ThingSpace's position is not on earth; latitude and longitude are probably swapped.",
    "position_out_of_range": "ThingSpace's position is not on earth.",
    "position_unreadable": "ThingSpace's position could not be read.",
    ZERO_ISLAND: "ThingSpace's position is 0/0, which stands for none.",
}
_NO_SIGHTING = Sighting()
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def read_answers(content: bytes, *, account: str) -> dict[str, tuple[wire.DeviceReply, str | None]]:
    """Find each device's part and its text, by MDN and, where the answer names one, by id.

    Raises:
        UnexpectedReply: It is not JSON, or not about devices.
        ProviderError: It is an error in spite of its status.
    """
    found: dict[str, tuple[wire.DeviceReply, str | None]] = {}
    for entry, raw in _read_elements(content, account):
        device = to_named_device(entry, account).device
        for name in (device.mdn, device.id):
            if name is not None and (name not in found or not _has_position(found[name][0])):
                found[name] = (entry, raw)
    return found


def _has_position(entry: wire.DeviceReply) -> bool:
    return entry.position is not None and entry.position.x is not None


def _read_elements(content: bytes, account: str) -> Iterable[tuple[wire.DeviceReply, str | None]]:
    try:
        return [_read_element(bytes(element)) for element in wire.to_elements(content)]
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        value = reading.decode(content)
    except MalformedJson as error:
        raise _unreadable() from error
    return [(wire.to_entry(element), _to_raw(element)) for element in _elements_in(value, account)]


def _read_element(raw: bytes) -> tuple[wire.DeviceReply, str | None]:
    if b"\\u" not in raw:
        try:
            return wire.to_answer_entry(raw), raw.decode("utf-8", "replace")
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    try:
        element = reading.decode(raw)
    except MalformedJson as error:
        raise _unreadable() from error
    return wire.to_entry(element), _to_raw(element)


def _elements_in(value: object, account: str) -> list[object]:
    if isinstance(value, list):
        return value
    found = reading.members(value)
    fault = fault_in(value)
    if fault.code and not found.keys() & {"msid", "mdn", "pd"}:
        raise by_words(fault, hide=account) or ProviderRefused("ThingSpace rejected the request.", provider=NAME)
    listed = reading.first(found, "devlocationlist", "devicelist")
    if isinstance(listed, list):
        return listed
    if found.keys() & {"msid", "mdn"}:
        return [value]
    raise _unreadable()


def _unreadable() -> UnexpectedReply:
    return UnexpectedReply("ThingSpace's answer could not be read.", provider=NAME, may_have_been_received=True)


def _to_raw(element: object) -> str | None:
    try:
        written = orjson.dumps(element).decode()
    except (TypeError, ValueError):
        return None
    return _ESCAPED_NUL.sub(r"\1", written)


def to_answer(
    entry: wire.DeviceReply, raw: str | None, *, mode: CacheMode, account: str, asked_at: datetime, now: datetime
) -> Located | ProviderError:
    """Read one device's part; an error is the answer, also where a position stands beside it."""
    sighting = _NO_SIGHTING if entry.position is None else to_sighting(entry.position, cached=mode == "0", now=now)
    located = _to_located(sighting, raw, mode, asked_at=asked_at, now=now)
    stated = to_report_error(entry.error)
    if located is not None and not says_why(stated):
        return located
    if stated is not None:
        error = to_device_error(stated.type, stated.info, hide=account)
    else:
        reason = next((_REASONS[flag] for flag in sighting.flags if flag in _REASONS), "ThingSpace found no position.")
        error = UnableToLocate(reason, provider=NAME)
    if isinstance(error, UnableToLocate):
        error.obtained = _to_obtained(sighting, located, stated, raw)
    return error


def _to_obtained(
    sighting: Sighting, located: Located | None, error: ReportError | None, raw: str | None
) -> Located | NotLocated | None:
    """Return what is stored although an error is the answer: the position beside it, or the placeholder of one."""
    if located is not None:
        return replace(located, error=error, flags=(*located.flags, ERROR_BESIDE_POSITION))
    if ZERO_ISLAND in sighting.flags:
        return NotLocated(provider=NAME, said_at=sighting.said_at, flags=sighting.flags, error=error, raw=raw)
    return None


def _to_located(
    sighting: Sighting, raw: str | None, mode: CacheMode, *, asked_at: datetime, now: datetime
) -> Located | None:
    fix = sighting.fix
    if fix is None:
        return None
    flags = tuple(dict.fromkeys((*sighting.flags, *doubts_about_time(sighting.said_at, now))))
    if mode == "1" and sighting.said_at and asked_at - sighting.said_at > _EVIDENTLY_EARLIER:
        fix = replace(fix, cached=True)
    billed = {"0": False, "1": False if fix.cached else None, "2": True}[mode]
    hints = tuple(_HINTS[flag] for flag in flags if flag in _HINTS)
    return Located(fix=fix, hints=hints, raw=raw, billed=billed, flags=flags)
