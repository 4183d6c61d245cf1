"""The asynchronous call: up to ten thousand devices, answered by one callback each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
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
    read_call,
)
from app.simulator.vendors.thingspace.delivery import Callback, Delivery
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.listeners import DEVICES, ListenerBook
from app.simulator.vendors.thingspace.locations import CACHED, check_modes, locate_once
from app.simulator.vendors.thingspace.messages import Message, location_report
from app.simulator.vendors.thingspace.periodic_calls import answer_then, whole_number
from app.simulator.vendors.thingspace.routing import LOCATION, route
from app.simulator.vendors.thingspace.wire import name_transaction, new_transaction
from app.simulator.world.ground import dice, fraction
from app.simulator.world.world import SimulatedDevice

_PATH = f"{LOCATION}/devicelocations"
_MOST_DEVICES = 10_000
_BATCHES = 10
"""Devices share delays, for a due time of its own for each would let only one callback be under way at full speed."""


@dataclass(slots=True, kw_only=True)
class Order:
    """One asynchronous call; `waiting` holds the devices that were not looked for yet."""

    transaction: str
    account: str
    cache_mode: str
    is_precise: bool
    longest_age: timedelta
    waiting: dict[int, SimulatedDevice]


class Orders:
    """The asynchronous calls."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._orders: dict[str, Order] = {}

    def find(self, transaction: str) -> Order | None:
        """Return a call by its transaction id."""
        return self._orders.get(transaction.strip())

    async def begin(self, order: Order, longest_delay_s: float) -> None:
        """Plan the search for the devices, after small delays and in another order than they were named."""
        self._orders[order.transaction.strip()] = order
        seed, agenda = f"{self._state.options.seed} {order.transaction}", self._state.part(Agenda)
        devices = sorted(order.waiting.values(), key=lambda device: dice(seed, device.index))
        for batch in range(_BATCHES):
            action = partial(self._find_all, order, devices[batch::_BATCHES])
            agenda.after(fraction(seed, "delay", batch) * longest_delay_s, action)

    def cancel(self, order: Order) -> None:
        """Give up the devices that were not looked for yet."""
        if not order.waiting:
            raise service_error("Unable to Cancel")
        order.waiting = {}

    async def _find_all(self, order: Order, devices: Sequence[SimulatedDevice]) -> None:
        for device in devices:
            if order.waiting.pop(device.index, None) is not None:
                await self._state.part(Delivery).send(
                    Callback(
                        account=order.account,
                        service=DEVICES,
                        identifiers=device.identifiers,
                        write=partial(self._write, order, device),
                    )
                )

    def _write(self, order: Order, device: SimulatedDevice) -> Message:
        outcome = locate_once(
            self._state, device, order.cache_mode, is_precise=order.is_precise, longest_age=order.longest_age
        )
        return location_report(self._state, order.account, order.transaction, [(device, outcome)])


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the asynchronous call."""
    return [
        route(state, "POST", _PATH, _start),
        route(state, "DELETE", f"{_PATH}/{{transaction}}", _cancel),
    ]


async def _start(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, body.get("accountName"))
    order = _to_order(state, account, body)
    state.part(ListenerBook).require(account, DEVICES)
    status = "COMPLETED" if order.cache_mode == CACHED else "QUEUED"
    answer = name_transaction(state, "txid", order.transaction, account=account) | {"status": status}
    begin = state.part(Orders).begin
    return await answer_then(
        state,
        account,
        answer,
        BackgroundTask(begin, order, state.options.callback_delay_s),
        early=BackgroundTask(begin, order, 0.0),
    )


def _to_order(state: State, account: str, body: dict[str, Any]) -> Order:
    cache_mode = check_modes(body, accuracies="01")
    longest_age = whole_number(state, body, ("maxLocAge", "maxLocationAge"), 3600, 120)
    devices = check_devices(state, account, body.get("deviceList"), most=_MOST_DEVICES)
    return Order(
        transaction=new_transaction(state, account),
        account=account,
        cache_mode=cache_mode,
        is_precise=str(body.get("accuracyMode")) == "1",
        longest_age=timedelta(seconds=longest_age),
        waiting={device.index: device for device in devices},
    )


async def _cancel(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = account_in_query(state, request)
    order = state.part(Orders).find(request.path_params["transaction"])
    if order is None or order.account != account:
        raise service_error("Unable to Cancel")
    state.part(Orders).cancel(order)
    return reply(name_transaction(state, "txid", order.transaction, account=account))
