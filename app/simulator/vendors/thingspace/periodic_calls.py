"""The calls that start and stop periodic location."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import (
    account_in_query,
    check_account,
    check_devices,
    check_tokens,
    query_value,
    read_call,
)
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.listeners import DEVICES, ListenerBook
from app.simulator.vendors.thingspace.periodic import PeriodicSession, PeriodicSessions, Plan
from app.simulator.vendors.thingspace.routing import LOCATION, route
from app.simulator.vendors.thingspace.wire import name_transaction, new_transaction

_PATH = f"{LOCATION}/devicelocations/action/periodic"
_MOST_DEVICES = 10_000
_MOST_STOPPED = 100
_EARLY_LIMIT_S = 5.0


def routes(state: State) -> list[BaseRoute]:
    """List the routes of periodic location; the stop call has an id in its path, or in its query."""
    return [
        route(state, "POST", _PATH, _start),
        route(state, "DELETE", _PATH, _stop),
        route(state, "DELETE", f"{_PATH}/{{transaction}}", _stop),
    ]


def whole_number(state: State, body: Mapping[str, Any], names: tuple[str, ...], most: int, usual: int) -> int:
    """Return a whole number from 0 to `most`, a string or a number, under the first of its names that is there.

    Lenient simulators also read 4.0; nobody reads 4.5.
    """
    name = next((name for name in names if body.get(name) is not None), None)
    if name is None:
        return usual
    number = _to_int(body[name], is_strict=state.options.strict)
    if number is None or not 0 <= number <= most:
        raise service_error(f"{name} must be a whole number from 0 to {most}")
    return number


def _to_int(given: Any, *, is_strict: bool) -> int | None:
    if isinstance(given, str) and given.isdecimal() and given.isascii():
        return int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if is_strict or not isinstance(given, float | str):
        return None
    try:
        number = float(given)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _to_plan(state: State, account: str, body: Mapping[str, Any]) -> Plan:
    usual_fixes = 0 if "numberOfFixes" not in body and _runs_until_stopped(state, account) else 12
    interval = whole_number(state, body, ("fixInterval",), 1_036_800, 3600)
    if interval == 0:
        raise service_error("fixInterval must be at least 1")
    return Plan(
        fixes=whole_number(state, body, ("numberOfFixes",), 1000, usual_fixes),
        interval=timedelta(seconds=interval),
        delay=timedelta(seconds=whole_number(state, body, ("startTime",), 86_400, 0)),
        longest_age=timedelta(seconds=whole_number(state, body, ("maxLocAge", "maxLocationAge"), 3600, 120)),
    )


def _runs_until_stopped(state: State, account: str) -> bool:
    return state.spells("fixes_unlimited_by_default", account=account)


async def _start(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    plan = _to_plan(state, account, body)
    devices = check_devices(state, account, body.get("deviceList"), most=_MOST_DEVICES, kinds=("imei",))
    state.part(ListenerBook).require(account, DEVICES)
    periodic = state.part(PeriodicSessions)
    tracking = periodic.begin(new_transaction(state, account), account, plan, devices)
    answer = name_transaction(state, "transactionID", tracking.transaction, account=account) | {"status": "QUEUED"}
    return await answer_then(state, account, answer, BackgroundTask(periodic.plan_fixes, tracking))


async def answer_then(
    state: State, account: str, answer: Mapping[str, Any], work: BackgroundTask, *, early: BackgroundTask | None = None
) -> Response:
    """Answer, and set off the work when the answer has left, or `early` before it where that is asked for."""
    if state.faults.take("callback_early", account=account):
        await (early or work)()
        await state.part(Agenda).wait_until_idle(_EARLY_LIMIT_S)
        return reply(answer)
    return reply(answer, afterwards=work)


async def _stop(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = account_in_query(state, request)
    tracking = _check_tracking(state, account, request)
    devices = tracking.running(_check_mdns(state, request))
    if not devices:
        raise service_error("Unable to Cancel")
    stop = new_transaction(state, account)
    answer = name_transaction(state, "transactionID", stop, account=account) | {"status": "COMPLETED"}
    work = BackgroundTask(state.part(PeriodicSessions).stop, tracking, devices, stop)
    return await answer_then(state, account, answer, work)


def _check_tracking(state: State, account: str, request: Request) -> PeriodicSession:
    transaction = request.path_params.get("transaction") or query_value(request, "transactionID") or ""
    tracking = state.part(PeriodicSessions).find(transaction)
    if tracking is None:
        raise service_error("Unable to Cancel")
    if tracking.account != account:
        raise service_error("Ownership or MDN validation failed")
    return tracking


def _check_mdns(state: State, request: Request) -> list[str] | None:
    """Return the MDNs of the query: repeated, joined by commas, or named mdn[]; None for all devices."""
    values = [value for key, value in request.query_params.multi_items() if key.lower() in ("mdn", "mdn[]")]
    mdns = [mdn.strip() for value in values for mdn in value.split(",") if mdn.strip()]
    if len(mdns) > _MOST_STOPPED:
        raise service_error(f"The mdn list has more than {_MOST_STOPPED} entries")
    if not mdns and state.options.strict:
        raise service_error("The mdn list is missing")
    return mdns or None
