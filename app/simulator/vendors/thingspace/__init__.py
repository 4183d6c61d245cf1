"""The stand-in for Verizon ThingSpace: tokens, sessions, device location and its callbacks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace import (
    asynchronous,
    calls,
    consent_calls,
    consents,
    control,
    delivery,
    device_list,
    fixes,
    listeners,
    locations,
    messages,
    oauth,
    periodic,
    periodic_calls,
    reports,
    sessions,
    triggers,
    unknown,
    usage,
    wire,
)
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.delivery import Delivery

_WITH_ROUTES = (
    oauth,
    sessions,
    locations,
    listeners,
    periodic_calls,
    asynchronous,
    reports,
    consent_calls,
    usage,
    triggers,
    device_list,
    unknown,
    control,
)
_WITH_FAULTS = (
    oauth,
    sessions,
    device_list,
    calls,
    consents,
    fixes,
    wire,
    locations,
    listeners,
    messages,
    delivery,
    periodic,
)


def routes(state: State) -> list[BaseRoute]:
    """List the routes of ThingSpace's services and of their control, and describe the faults they know."""
    for module in _WITH_FAULTS:
        state.faults.describe(module.FAULTS)
    return [made for module in _WITH_ROUTES for made in module.routes(state)]


@asynccontextmanager
async def lifespan(state: State) -> AsyncIterator[None]:
    """Run ThingSpace's agenda and its deliveries."""
    tasks = [asyncio.create_task(state.part(Agenda).run()), asyncio.create_task(state.part(Delivery).run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise RuntimeError("A background task of the simulator had ended before") from outcome  # noqa: TRY004 no type is at fault
