"""The connectivity service's list of an account's devices; not billed."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import to_object
from app.simulator.vendors.thingspace.errors import m2m_error
from app.simulator.vendors.thingspace.oauth import Bearers
from app.simulator.vendors.thingspace.routing import M2M, route
from app.simulator.vendors.thingspace.sessions import Sessions, expired_for_m2m
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "device_list_without_mdn": "ThingSpace device list: the devices' MDNs are not listed",
    "device_list_empty": "ThingSpace device list: the account has no such devices",
}

_MOST = 2000
_KINDS = ("imei", "mdn", "meid", "esn")
_COMPARISONS = {"contains": str.__contains__, "startswith": str.startswith, "endswith": str.endswith}


def routes(state: State) -> list[BaseRoute]:
    """List the route of the device list."""
    return [route(state, "POST", f"{M2M}/devices/actions/list", _list)]


async def _list(state: State, request: Request) -> Response:
    state.part(Bearers).check(request)
    state.part(Sessions).check(request, expired_for_m2m)
    body = to_object(await request.body())
    account = body.get("accountName", state.world.accounts[0])
    if account not in state.world.accounts:
        raise m2m_error("REQUEST_FAILED.AccountNotFound", "The account could not be found.")
    most = _to_number(body, "maxNumberOfDevices", _MOST)
    after = _to_number(body, "largestDeviceIdSeen", 0)
    found = [] if state.faults.take("device_list_empty", account=account) else _matching(state, account, body)
    rest = [device for device in found if device.index >= after]
    page = rest[: min(most, _MOST)]
    is_numberless = bool(state.faults.take("device_list_without_mdn", account=account))
    devices = [_to_element(state, device, is_numberless=is_numberless) for device in page]
    return reply({"hasMoreData": len(rest) > len(page), "devices": devices})


def _to_number(body: Mapping[str, Any], name: str, default: int) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not str(value).isdecimal():
        raise m2m_error(f"INPUT_INVALID.{name}", f"{name} must be a number.")
    return int(value)


def _matching(state: State, account: str, body: Mapping[str, Any]) -> list[SimulatedDevice]:
    wanted = body.get("deviceId")
    if wanted is not None:
        return _by_id(state, account, wanted)
    devices = [device for device in state.world.devices() if device.account == account]
    for one in (body.get("filter") or {}).get("deviceIdentifierFilters") or []:
        devices = [device for device in devices if _fits(device, one)]
    return devices


def _by_id(state: State, account: str, wanted: Any) -> list[SimulatedDevice]:
    kind = str(wanted.get("kind", "")).lower() if isinstance(wanted, dict) else ""
    if kind not in _KINDS:
        raise m2m_error("INPUT_INVALID.Device.Kind.Invalid", "The kind of the device is not known.")
    device = state.world.device_by_id(kind, str(wanted.get("id", "")))
    return [device] if device is not None and device.account == account else []


def _fits(device: SimulatedDevice, condition: Any) -> bool:
    kind = str(condition.get("kind", "")).lower() if isinstance(condition, dict) else ""
    if kind not in _KINDS:
        raise m2m_error("INPUT_INVALID.Device.Kind.Invalid", "The kind of a filter is not known.")
    value = getattr(device, kind)
    return value is not None and all(
        compare(value, str(condition[name])) for name, compare in _COMPARISONS.items() if name in condition
    )


def _to_element(state: State, device: SimulatedDevice, *, is_numberless: bool) -> dict[str, Any]:
    ids = [(kind, getattr(device, kind)) for kind in _KINDS if not (is_numberless and kind == "mdn")]
    return {
        "accountName": device.account,
        "billingCycleEndDate": (state.clock.now() + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "carrierInformations": [{"carrierName": "Verizon Wireless", "servicePlan": "m2m_4G", "state": "active"}],
        "connected": True,
        "deviceIds": [{"id": identifier, "kind": kind} for kind, identifier in ids if identifier is not None],
        "lastConnectionDate": state.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
