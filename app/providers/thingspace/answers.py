"""What the answer to `POST /locations` says about each device; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import orjson
from msgspec.structs import replace

from app.errors import MalformedJson, ProviderError, ProviderRefused, UnableToLocate, UnexpectedReply
from app.model import Fix, Located
from app.providers.thingspace import reading, wire
from app.providers.thingspace.devices import to_named_device
from app.providers.thingspace.mapping import to_report_error, to_sighting
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.vendor_errors import by_words, fault_in, to_device_error

CacheMode = Literal["0", "1", "2"]
"""Cached only, free · cached, else current · current, billed (reference, section 3.6)."""

_EVIDENTLY_EARLIER = timedelta(minutes=1)
_HINTS = {
    "time_unreadable": "thingspace: the time of the fix could not be read; it carries the time of the answer",
    "offset_unreadable": "thingspace: the time zone of the fix could not be read; UTC was taken",
}
_REASONS = {
    "axes_probably_swapped": "ThingSpace's position is not on earth; latitude and longitude are probably swapped.",
    "position_out_of_range": "ThingSpace's position is not on earth.",
    "position_unreadable": "ThingSpace's position could not be read.",
}
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A position, and the time ThingSpace states for it; None when it states none that can be read."""

    located: Located
    said_at: datetime | None


def read_answers(content: bytes, *, account: str) -> dict[str, tuple[wire.Entry, str | None]]:
    """Find each device's part and its text, by MDN and, where the answer names one, by id.

    Raises:
        UnexpectedReply: It is no JSON, or says nothing about devices.
        ProviderError: It is an error in spite of its status.
    """
    found: dict[str, tuple[wire.Entry, str | None]] = {}
    for entry, raw in _read_elements(content, account):
        device = to_named_device(entry, account).device
        for name in (device.mdn, device.id):
            if name is not None and (name not in found or not _has_position(found[name][0])):
                found[name] = (entry, raw)
    return found


def _has_position(entry: wire.Entry) -> bool:
    return entry.position is not None and entry.position.x is not None


def _read_elements(content: bytes, account: str) -> Iterable[tuple[wire.Entry, str | None]]:
    try:
        return [_read_element(bytes(element)) for element in wire.to_elements(content)]
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        value = reading.decode(content)
    except MalformedJson as error:
        raise _unreadable() from error
    return [(wire.to_entry(element), _to_raw(element)) for element in _elements_in(value, account)]


def _read_element(raw: bytes) -> tuple[wire.Entry, str | None]:
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
    entry: wire.Entry, raw: str | None, *, mode: CacheMode, account: str, asked_at: datetime, now: datetime
) -> Answer | ProviderError:
    """Read one device's part: a position wins over an error beside it (reference, section 12, row 10)."""
    flags: tuple[str, ...] = ()
    if entry.position is not None:
        sighting = to_sighting(entry.position, cached=mode == "0", now=now)
        flags = sighting.flags
        if sighting.fix is not None:
            fix = sighting.fix
            if mode == "1" and sighting.said_at and asked_at - sighting.said_at > _EVIDENTLY_EARLIER:
                fix = replace(fix, cached=True)
            return Answer(located=_to_located(fix, flags, raw, mode), said_at=sighting.said_at)
    if error := to_report_error(entry.error):
        return to_device_error(error.type, error.info, hide=account)
    reason = next((_REASONS[flag] for flag in flags if flag in _REASONS), "ThingSpace found no position.")
    return UnableToLocate(reason, provider=NAME)


def _to_located(fix: Fix, flags: tuple[str, ...], raw: str | None, mode: CacheMode) -> Located:
    billed = {"0": False, "1": False if fix.cached else None, "2": True}[mode]
    return Located(fix=fix, hints=tuple(_HINTS[flag] for flag in flags if flag in _HINTS), raw=raw, billed=billed)
