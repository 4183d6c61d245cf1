"""The synchronous call: up to twenty devices, answered at once."""

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import check_account, check_devices, check_mode, read_call
from app.simulator.vendors.thingspace.consents import Consents
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.fixes import Failure, Fixes, Outcome
from app.simulator.vendors.thingspace.routing import LOCATION, route
from app.simulator.vendors.thingspace.wire import to_element
from app.simulator.world.world import SimulatedDevice

FAULTS = {
    "stranger_added": "ThingSpace /locations: the answer also holds a device that was not asked for",
    "stranger_instead": "ThingSpace /locations: the answer holds a stranger instead of one device that was asked for",
    "answer_missing": "ThingSpace /locations: one of the devices is missing from the answer",
    "answers_reversed": "ThingSpace /locations: the devices are answered in reverse order",
    "refusals_inside": "ThingSpace /locations: no consent or an empty cache is never a 400, but an error of the device",
}

_MOST_DEVICES = 20
CACHED, CACHED_OR_CURRENT, CURRENT = "0", "1", "2"

CACHE_UNAVAILABLE = ("CACHE_UNAVAILABLE", "Location cache has no data for this device")
CONSENT_FAILED = ("INVALID_PARAMETER", "Consent check failed")


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the synchronous call."""
    return [route(state, "POST", f"{LOCATION}/locations", _locate)]


def check_modes(body: dict[str, Any], *, accuracies: str) -> str:
    """Check both modes of a call and return the one of the cache."""
    check_mode(body, "accuracyMode", accuracies, "Invalid accuracy mode")
    return check_mode(body, "cacheMode", "012", "Invalid cache mode")


def locate_once(
    state: State,
    device: SimulatedDevice,
    cache_mode: str,
    *,
    is_precise: bool = False,
    longest_age: timedelta | None = None,
) -> Outcome:
    """Find one device, by the cache or over the network; a cached fix counts if it is no older than that."""
    fixes, now = state.part(Fixes), state.clock.now()
    if not state.part(Consents).allow(device, is_precise=is_precise):
        return Failure(*CONSENT_FAILED, now)
    if cache_mode != CURRENT:
        cached = fixes.cached(device, is_precise=is_precise)
        if cached is not None and (cache_mode == CACHED or longest_age is None or now - cached.at <= longest_age):
            return cached
        if cache_mode == CACHED:
            return Failure(*CACHE_UNAVAILABLE, now)
    return fixes.locate(device, now, is_precise=is_precise)


async def _locate(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    cache_mode = check_modes(body, accuracies="0")
    devices = check_devices(state, account, body.get("deviceList"), most=_MOST_DEVICES, needs_mdn=True)
    outcomes = [(device, locate_once(state, device, cache_mode)) for device in devices]
    _refuse_if_all_are(state, account, [outcome for _, outcome in outcomes])
    elements = [to_element(state, device, outcome, qos="false") for device, outcome in outcomes]
    return reply(_disturb(state, account, elements))


def _refuse_if_all_are(state: State, account: str, outcomes: list[Outcome]) -> None:
    """Refuse the call when no device was even looked for; a mixture is told per device."""
    refusals = [one for one in outcomes if isinstance(one, Failure) and (one.type, one.info) in _REFUSALS]
    if len(refusals) == len(outcomes) and not state.faults.take("refusals_inside", account=account):
        raise service_error(refusals[0].info, code=refusals[0].type)


_REFUSALS = (CACHE_UNAVAILABLE, CONSENT_FAILED)


def _disturb(state: State, account: str, elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    faults = state.faults
    if faults.take("stranger_added", account=account):
        elements.insert(0, _stranger(state))
    if faults.take("stranger_instead", account=account):
        elements[-1] = _stranger(state)
    if faults.take("answer_missing", account=account):
        elements.pop()
    if faults.take("answers_reversed", account=account):
        elements.reverse()
    return elements


def _stranger(state: State) -> dict[str, Any]:
    device = state.world.device(state.world.fleet - 1)
    fix = state.part(Fixes).locate(device, state.clock.now(), is_precise=False)
    return to_element(state, device, fix, qos="false")
