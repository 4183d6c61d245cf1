"""What tests and the demo ask of ThingSpace's side, below `/control/thingspace`.

* `GET`: periodic sessions, callbacks by outcome, listeners, the login.
* `POST …/drain` `{"timeoutSeconds": 30}`: wait until nothing is under way or due, else 504; real seconds.
* `POST …/speed` `{"fullSpeed": true}`: jump from due time to due time instead of waiting.
* `POST …/listeners` `{"account", "service", "url"}`: register without tokens; the secret is in the answer.
* `POST …/device-fixes` `{"imei", "count"}`: fixes that the device began itself.
* `POST …/unlock`: unlock the login.
"""

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.errors import Refused
from app.simulator.vendors.thingspace.listeners import ListenerBook
from app.simulator.vendors.thingspace.periodic import PeriodicSession, PeriodicSessions
from app.simulator.vendors.thingspace.routing import CONTROL, route
from app.simulator.vendors.thingspace.sessions import Sessions

T = TypeVar("T")

_OUTCOMES = ("due", "sent", "acknowledged", "retried", "given_up", "lost", "unaddressed")
_LISTED = 100


class _Drain(msgspec.Struct, kw_only=True, rename="camel"):
    timeout_seconds: float = 30.0


class _Speed(msgspec.Struct, kw_only=True, rename="camel"):
    full_speed: bool


class _Listener(msgspec.Struct, kw_only=True, rename="camel"):
    account: str
    service: str
    url: str


class _Fixes(msgspec.Struct, kw_only=True, rename="camel"):
    imei: str
    count: int = 1


def routes(state: State) -> list[BaseRoute]:
    """List the routes that no vendor has."""
    return [
        route(state, "GET", CONTROL, _show),
        route(state, "POST", f"{CONTROL}/drain", _drain),
        route(state, "POST", f"{CONTROL}/speed", _set_speed),
        route(state, "POST", f"{CONTROL}/listeners", _register),
        route(state, "POST", f"{CONTROL}/device-fixes", _report_device),
    ]


def figures(state: State) -> dict[str, Any]:
    """Return what has become of the periodic sessions and the callbacks."""
    agenda, trackings = state.part(Agenda), state.part(PeriodicSessions).all()
    login = state.part(Sessions)
    return {
        "idle": agenda.is_idle,
        "fullSpeed": agenda.full_speed,
        "now": agenda.now().isoformat(),
        "underWay": agenda.outstanding,
        "planned": agenda.waiting,
        "callbacks": {name: state.counters.count(f"thingspace.callbacks.{name}") for name in _OUTCOMES},
        "login": {"sessions": login.count, "failures": login.failures, "locked": login.is_locked},
        "periodic": {"sessions": len(trackings), "running": sum(not tracking.is_over for tracking in trackings)},
        "sessions": [_summary(tracking) for tracking in trackings[-_LISTED:]],
        "listeners": {account: _addresses(state, account) for account in state.world.accounts},
    }


def _summary(tracking: PeriodicSession) -> dict[str, Any]:
    return {
        "transactionID": tracking.transaction,
        "accountName": tracking.account,
        "devices": tracking.asked,
        "running": len(tracking.running(None)),
        "fixes": tracking.plan.fixes,
        "rounds": tracking.rounds,
        "over": tracking.is_over,
    }


def _addresses(state: State, account: str) -> dict[str, str]:
    return {service: listener.url for service, listener in state.part(ListenerBook).of(account).items()}


async def _show(state: State, _request: Request) -> Response:
    return reply(figures(state))


async def _drain(state: State, request: Request) -> Response:
    asked = await _read(request, _Drain)
    is_idle = await state.part(Agenda).wait_until_idle(asked.timeout_seconds)
    return reply(figures(state), status=200 if is_idle else 504)


async def _set_speed(state: State, request: Request) -> Response:
    state.part(Agenda).set_full_speed(is_on=(await _read(request, _Speed)).full_speed)
    return reply(figures(state))


async def _register(state: State, request: Request) -> Response:
    """Register a listener without tokens, as if it had been there before; the secret is in the answer."""
    asked = await _read(request, _Listener)
    listener = state.part(ListenerBook).register(asked.account, asked.service, asked.url)
    return reply({"account": asked.account, "name": asked.service, "url": listener.url, "secret": listener.secret})


async def _report_device(state: State, request: Request) -> Response:
    asked = await _read(request, _Fixes)
    device = state.world.device_by_imei(asked.imei)
    if device is None:
        return reply({"error": "no such device"}, status=404)
    for _ in range(asked.count):
        await state.part(PeriodicSessions).report_device(device)
    return reply(figures(state))


async def _read(request: Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await request.body() or b"{}", type=shape)
    except msgspec.DecodeError as error:
        raise Refused(reply({"error": str(error)}, status=422)) from error
