"""The calls about exclusion lists and consents."""

from functools import partial
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import (
    account_in_query,
    check_account,
    check_devices,
    check_tokens,
    query_value,
    read_call,
    to_object,
)
from app.simulator.vendors.thingspace.consents import Consents
from app.simulator.vendors.thingspace.delivery import Callback, Delivery
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.listeners import DEVICES
from app.simulator.vendors.thingspace.messages import consent_response
from app.simulator.vendors.thingspace.routing import LOCATION, route
from app.simulator.vendors.thingspace.wire import name_transaction, new_transaction
from app.simulator.world.world import SimulatedDevice

_PAGE = 2000
_MOST_DEVICES = 10_000


def routes(state: State) -> list[BaseRoute]:
    """List the routes of both kinds of consent; the newer ones have two spellings of their path."""
    made: list[BaseRoute] = [
        route(state, "POST", f"{LOCATION}/consents", _exclude),
        route(state, "DELETE", f"{LOCATION}/consents", _include),
        route(state, "GET", f"{LOCATION}/consents/{{account}}/index/{{start}}", _list_excluded),
    ]
    for path in ("action", "actions"):
        newer = f"{LOCATION}/devicelocations/{path}/consents"
        made.append(route(state, "GET", newer, _show))
        made.append(route(state, "POST", newer, _set_devices))
        made.append(route(state, "PUT", newer, _set_account))
    return made


async def _exclude(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    is_all, excluded = body.get("allDevice") is True, _check_identifiers(body.get("exclusion") or [])
    if is_all and excluded:
        raise service_error("Conflicting device list")
    consents = state.part(Consents)
    consents.of(account).excludes_all = is_all
    consents.exclude(account, excluded, is_added=body.get("type") == "append")
    return reply({"success": True})


async def _include(state: State, request: Request) -> Response:
    """Read the account and the devices from the body, as the page has it, or from the query."""
    check_tokens(state, request)
    raw = await request.body()
    if raw:
        body = to_object(raw)
        account, given = check_account(state, body.get("accountName")), body.get("deviceList") or []
    else:
        account, given = account_in_query(state, request), (query_value(request, "deviceList") or "").split(",")
    state.part(Consents).include(account, _check_identifiers(given))
    return reply({"success": True})


async def _list_excluded(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = check_account(state, request.path_params["account"])
    start = request.path_params["start"]
    if not start.isdecimal():
        raise service_error("The start index must be a whole number")
    said, first = state.part(Consents).of(account), int(start)
    return reply(
        {
            "accountName": account,
            "allDevice": said.excludes_all,
            "hasMoreData": first + _PAGE < len(said.excluded),
            "totalCount": len(said.excluded),
            "updateTime": f"{said.updated_at:%Y-%m-%d %H:%M:%S.%f +0000 UTC}",
            "exclusion": said.excluded[first : first + _PAGE],
        }
    )


def _check_identifiers(given: Any) -> list[str]:
    if not isinstance(given, list) or len(given) > _PAGE or not all(isinstance(name, str) for name in given):
        raise service_error(f"The device list must hold at most {_PAGE} identifiers")
    return given


async def _show(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = account_in_query(state, request)
    said, wanted = state.part(Consents).of(account), query_value(request, "deviceId")
    levels = said.levels if wanted is None else {wanted: said.levels.get(wanted, said.level)}
    devices = [{"id": imei, "kind": "imei", "consent": level} for imei, level in levels.items()]
    return reply({"accountName": account, "allDeviceConsent": said.level, "deviceList": devices})


async def _set_devices(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    given = body.get("deviceList")
    devices = check_devices(state, account, given, most=_MOST_DEVICES)
    levels = [_to_level(element.get("consent", 1)) for element in given or ()]
    said, chosen = state.part(Consents).of(account), list(zip(devices, levels, strict=True))
    said.levels |= {device.imei: level for device, level in chosen}
    transaction = new_transaction(state, account)
    answer = name_transaction(state, "transactionId", transaction, account=account) | {"status": "QUEUED"}
    return reply(answer, afterwards=BackgroundTask(_announce, state, account, transaction, chosen))


async def _set_account(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    state.part(Consents).of(account).level = _to_level(body.get("allDeviceConsent"))
    named = name_transaction(state, "transactionId", new_transaction(state, account), account=account)
    return reply(named | {"status": "COMPLETED"})


def _to_level(given: Any) -> int:
    if str(given) not in ("0", "1", "2", "3"):
        raise service_error("A consent must be a whole number from 0 to 3")
    return int(given)


async def _announce(state: State, account: str, transaction: str, chosen: list[tuple[SimulatedDevice, int]]) -> None:
    for device, level in chosen:
        write = partial(consent_response, state, account, transaction, device, level)
        callback = Callback(account=account, service=DEVICES, identifiers=device.identifiers, write=write)
        await state.part(Delivery).send(callback)
