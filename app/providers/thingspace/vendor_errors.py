"""ThingSpace's errors and what they mean to us (reference, section 10).

Codes are few and used for everything, and per-device errors are free text, so both are distinguished by what they
contain, whatever the case.
"""

import re
from dataclasses import dataclass
from typing import Literal

import httpx

from app.errors import (
    AllowanceUsedUp,
    ConsentRequired,
    DeviceNotOwned,
    DeviceUnknown,
    DeviceUnreachable,
    MalformedJson,
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnavailable,
    ServiceNotApplicable,
    UnableToLocate,
    UnexpectedReply,
)
from app.providers.thingspace import reading
from app.providers.thingspace.settings import NAME
from app.upstream import retry_after_s, was_declined

_SERVER_ERROR = 500
_LONGEST_MESSAGE = 200
_LONGEST_CODE = 100
_IDENTIFIERS = re.compile(
    r"\+?\d(?:[\s().-]{0,2}\d){6,}"  # numbers of devices, phones and accounts
    r"|\b(?=[A-Fa-f-]*\d)[0-9A-Fa-f]{8,}(?:-[0-9A-Fa-f]+)*\b"  # MEIDs, tokens and transaction ids
)
_XML_MEMBER = re.compile(r"<(?:\w+:)?(code|message|description)>\s*([^<]*?)\s*</")

_MEANINGS: tuple[tuple[str, type[ProviderError], str], ...] = (
    ("absent subscriber", DeviceUnreachable, "The network cannot reach the device."),
    ("congestion", DeviceUnreachable, "The network is too busy to reach the device."),
    ("timeout", DeviceUnreachable, "The device did not answer the network in time."),
    ("consent", ConsentRequired, "The device's owner has not consented to being located."),
    ("positioning not allowed", ConsentRequired, "Locating the device is not allowed."),
    ("ownership", DeviceNotOwned, "The device is not of this account, or its id and MDN do not belong together."),
    ("device type check", ServiceNotApplicable, "ThingSpace locates IoT and fixed wireless devices only."),
    ("device category", ServiceNotApplicable, "ThingSpace locates IoT and fixed wireless devices only."),
    ("device not found", DeviceUnknown, "ThingSpace does not know the device."),
    ("device_not_found", DeviceUnknown, "ThingSpace does not know the device."),
    ("unknown subscriber", DeviceUnknown, "ThingSpace does not know the device."),
    ("cache_unavailable", UnableToLocate, "ThingSpace keeps no earlier position of the device."),
    ("cache has no data", UnableToLocate, "ThingSpace keeps no earlier position of the device."),
    ("usage_exceeded", AllowanceUsedUp, "The account's allowance is used up."),
    ("unregistered account", ProviderRefused, "The account has no location service."),
    ("invalid account", ProviderRefused, "ThingSpace does not accept the account's name."),
    ("invalid_account", ProviderRefused, "ThingSpace does not accept the account's name."),
    ("find account", ProviderRefused, "ThingSpace does not know the account, or it is not open to this login."),
    ("accountn", ProviderRefused, "ThingSpace does not know the account, or it is not open to this login."),
    ("account.notdefined", ProviderRefused, "ThingSpace does not know the account, or it is not open to this login."),
    ("callback_not_registered", ProviderRefused, "No callback listener is registered for the account."),
)

_BEARER_FAULTS = frozenset({"900901", "900902", "900903", "900904"})
_DROPS_THE_DEVICE = (ConsentRequired, DeviceNotOwned, ServiceNotApplicable)
_ABOUT_ONE_DEVICE = (ConsentRequired, DeviceNotOwned, DeviceUnknown, ServiceNotApplicable, UnableToLocate)


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorFault:
    """The content of an error body, from any envelope; empty if unreadable.

    Attributes:
        from_service: Whether it is from the service itself, not from a gateway in front of it.
    """

    code: str = ""
    message: str = ""
    description: str = ""
    from_service: bool = False

    @property
    def said(self) -> str:
        """All of its text, for comparison."""
        return f"{self.code} {self.message} {self.description}".lower()


def to_fault(body: bytes) -> VendorFault:
    """Read a service error, a gateway fault (JSON or XML) or an OAuth error; never fails."""
    try:
        return fault_in(reading.decode(body))
    except (MalformedJson, UnexpectedReply):
        found = dict(_XML_MEMBER.findall(body[:4096].decode("utf-8", "replace")))
        return VendorFault(**found) if found else VendorFault()


def fault_in(value: object) -> VendorFault:
    """Find an error envelope in decoded JSON."""
    found = reading.members(value)
    found = reading.members(found.get("fault")) or found
    return VendorFault(
        code=reading.text(reading.first(found, "errorcode", "code", "error")) or "",
        message=reading.text(reading.first(found, "errormessage", "message", "error_description")) or "",
        description=reading.text(found.get("description")) or "",
        from_service="errorcode" in found,
    )


def expired(status: int, fault: VendorFault) -> Literal["bearer", "session"] | None:
    """Return which token has expired, by every form of the reference, sections 10.1 and 10.3."""
    if "sessiontoken." in fault.said or "session has expired" in fault.said:
        return "session"
    if fault.code in _BEARER_FAULTS or (status == httpx.codes.UNAUTHORIZED and _meaning(fault.said) is None):
        return "bearer"
    return None


def to_error(response: httpx.Response, fault: VendorFault, *, hide: str = "") -> ProviderError:
    """Translate an unsuccessful answer into an error."""
    status = response.status_code
    wait_s = retry_after_s(response)
    error = by_words(fault, hide=hide)
    if not isinstance(error, AllowanceUsedUp):
        error = _by_status(response, wait_s) or error or _refused(status)
    error.vendor_code = to_vendor_text(fault.code, hide)[:_LONGEST_CODE] or f"HTTP {status}"
    error.vendor_message = to_vendor_text(fault.message or fault.description, hide) or None
    if isinstance(error, ProviderThrottled) and wait_s is not None:
        error.retry_after_s = wait_s
    return error


def _by_status(response: httpx.Response, wait_s: float | None) -> ProviderError | None:
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderThrottled("ThingSpace asks for fewer calls.", provider=NAME)
    if status >= _SERVER_ERROR:
        return ProviderUnavailable(
            f"ThingSpace answered {status}.",
            provider=NAME,
            retry_after_s=wait_s,
            may_have_been_received=not was_declined(response),
        )
    return None


def _refused(status: int) -> ProviderError:
    if status == httpx.codes.UNAUTHORIZED:
        return ProviderMisconfigured("ThingSpace does not accept the gateway's tokens.", provider=NAME)
    return ProviderRefused(f"ThingSpace rejected the request with {status}.", provider=NAME)


def by_words(fault: VendorFault, *, hide: str = "") -> ProviderError | None:
    """Translate known words into an error; None for others."""
    meaning = _meaning(fault.said)
    if meaning is None:
        return None
    kind, detail = meaning
    return kind(
        detail,
        provider=NAME,
        vendor_code=to_vendor_text(fault.code, hide)[:_LONGEST_CODE] or None,
        vendor_message=to_vendor_text(fault.message or fault.description, hide) or None,
    )


def _meaning(said: str) -> tuple[type[ProviderError], str] | None:
    return next(((kind, detail) for part, kind, detail in _MEANINGS if part in said), None)


def to_device_error(type_: str | None, info: str | None, *, hide: str = "") -> ProviderError:
    """Translate an error of one device; free text that is not known counts as "no position"."""
    fault = VendorFault(code=type_ or "", message=info or "")
    return by_words(fault, hide=hide) or UnableToLocate(
        "ThingSpace found no position.",
        provider=NAME,
        vendor_code=to_vendor_text(fault.code, hide)[:_LONGEST_CODE] or None,
        vendor_message=to_vendor_text(fault.message, hide) or None,
    )


def is_final(type_: str | None, info: str | None) -> bool:
    """Return whether ThingSpace has dropped a device for this error: it reports once, and no more (section 11.4)."""
    return isinstance(to_device_error(type_, info), _DROPS_THE_DEVICE)


def is_about_one_device(error: ProviderError) -> bool:
    """Return whether a call was refused because of one of its devices, so that the others may succeed."""
    return isinstance(error, _ABOUT_ONE_DEVICE)


def to_vendor_text(words: str, hide: str) -> str:
    """Make ThingSpace's words fit to be shown: without `hide` and identifiers, at most 200 characters."""
    shown = words.replace(hide, "***") if hide else words
    return _IDENTIFIERS.sub("***", shown)[:_LONGEST_MESSAGE]
