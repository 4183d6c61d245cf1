"""What the calls of the location service have in common: tokens, body, account and device list, in this order."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from app.simulator.state import State
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.oauth import Bearers
from app.simulator.vendors.thingspace.sessions import Sessions, expired_for_location
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "account_unknown": "ThingSpace location: the account cannot be found",
    "account_unregistered": "ThingSpace location: the account has no location service",
    "not_owned": "ThingSpace location: the device belongs to another account",
    "device_not_found": "ThingSpace location: the device is unknown",
    "device_type_refused": "ThingSpace location: the whole call is refused, for the device is not of the IoT",
}

_KINDS = ("imei", "meid", "esn")


def check_tokens(state: State, request: Request) -> None:
    """Refuse a call without a valid access token or session."""
    state.part(Bearers).check(request)
    state.part(Sessions).check(request, expired_for_location)


async def read_call(state: State, request: Request) -> dict[str, Any]:
    """Check the tokens and return the body, whatever its content type is said to be."""
    check_tokens(state, request)
    return to_object(await request.body())


def to_object(body: bytes) -> dict[str, Any]:
    """Read a body that must be a JSON object."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise service_error("Invalid JSON") from None


def check_account(state: State, name: Any) -> str:
    """Return the account, known and registered for location."""
    if not isinstance(name, str) or not name.strip():
        raise service_error("Invalid account name")
    if name not in state.world.accounts or state.faults.take("account_unknown", account=name):
        raise service_error(f"UWS verification failure (Could not find account {name})")
    if state.faults.take("account_unregistered", account=name):
        raise service_error("Unregistered account")
    return name


def query_value(request: Request, name: str) -> str | None:
    """Return a query parameter, however its name is capitalised."""
    return next((value for key, value in request.query_params.multi_items() if key.lower() == name.lower()), None)


def account_in_query(state: State, request: Request) -> str:
    """Return the account from the query: by name, or as a query that is nothing but the account."""
    named = query_value(request, "accountName")
    bare = next((key for key, value in request.query_params.multi_items() if not value), None)
    return check_account(state, named or bare)


def check_mode(body: Mapping[str, Any], name: str, allowed: str, complaint: str) -> str:
    """Return a mode number, 0 by default, that may be a string or a number."""
    given = body.get(name)
    mode = "0" if given is None or given == "" else str(given)
    if mode not in list(allowed):
        raise service_error(complaint)
    return mode


def check_devices(
    state: State,
    account: str,
    given: Any,
    *,
    most: int,
    kinds: tuple[str, ...] = _KINDS,
    needs_mdn: bool = False,
) -> list[SimulatedDevice]:
    """Return the devices of a list, all of them this account's; the table of a call may demand their MDNs."""
    if not isinstance(given, list) or not given:
        raise service_error("The deviceList is missing or empty")
    if len(given) > most:
        raise service_error(f"The deviceList has more than {most} devices")
    devices = [_check_device(state, account, element, kinds) for element in given]
    if needs_mdn and not all(_flat(state, element).get("mdn") for element in given):
        raise service_error("The mdn of a device is missing")
    return devices


def _check_device(state: State, account: str, element: Any, kinds: tuple[str, ...]) -> SimulatedDevice:
    fields = _flat(state, element)
    kind, identifier = str(fields.get("kind", "")).lower(), str(fields.get("id", ""))
    if kind not in kinds:
        raise service_error(f"The kind of a device must be one of {', '.join(kinds)}")
    device = state.world.device_by_id(kind, identifier)
    if device is None or state.faults.take("device_not_found", device=device.identifiers, account=account):
        raise service_error("Device not found")
    mdn = fields.get("mdn")
    fits = device.account == account and (mdn is None or str(mdn) == device.mdn)
    if not fits or state.faults.take("not_owned", device=device.identifiers, account=account):
        raise service_error("Ownership or MDN validation failed")
    if state.faults.take("device_type_refused", device=device.identifiers, account=account):
        raise service_error("Device type check failed")
    return device


def _flat(state: State, element: Any) -> Mapping[str, Any]:
    """Return the members of one list element, also where they are nested as one of the vendor's tables reads."""
    if not isinstance(element, dict):
        raise service_error("The deviceList must hold objects")
    nested = element.get("deviceIds")
    if nested and not state.options.strict:
        inner = nested[0] if isinstance(nested, list) else nested
        return {**element, **inner} if isinstance(inner, dict) else element
    return element
