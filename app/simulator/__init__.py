"""Stand-ins for both vendors over real sockets; shares no code with the gateway."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from app.simulator.control import control, page
from app.simulator.control.gate import Gate
from app.simulator.options import Consent, Options
from app.simulator.state import State
from app.simulator.vendors import cloudlocate, thingspace
from app.simulator.world.clock import Clock, RealClock

_UNGATED = ("/control", "/healthz")


class _Simulator(Starlette):
    """The application; the calls of the vendors' routes go through the gate, which must stand outside everything."""

    def __init__(self, state: State) -> None:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with thingspace.lifespan(state):
                yield

        # CloudLocate comes first because routes are tried in turn and benchmarks lean on it.
        routes = [*cloudlocate.routes(state), *thingspace.routes(state), *control.routes(state), *page.routes(state)]
        super().__init__(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _in_json})
        self.state.simulator = state
        self._gate = Gate(super().__call__, state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/" or scope["path"].startswith(_UNGATED):
            await super().__call__(scope, receive, send)
        else:
            await self._gate(scope, receive, send)


async def _in_json(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"message": error.detail}, error.status_code, error.headers)


def create_simulator(options: Options | None = None, clock: Clock | None = None) -> Starlette:
    """Make a simulator of both vendors; its `State` is at `.state.simulator`.

    ThingSpace's base URL is `/api`, CloudLocate's position URL `/cloudlocate/v1/position`. Callbacks and
    everything else that happens later need the application's lifespan.
    """
    return _Simulator(State.begin(options or Options(), clock or RealClock()))


def simulator_from_environment() -> Starlette:
    """Make a simulator for a server's factory option, from the `SIMULATOR_*` variables.

    They are SEED, FLEET, ACCOUNT, OTHER_ACCOUNT, CONSENT, STRICT (`true`), SPELLINGS (separated by commas), LATENCY_S
    and SPEED.
    """
    defaults = Options()
    given = os.environ.get
    options = Options(
        seed=int(given("SIMULATOR_SEED", defaults.seed)),
        fleet=int(given("SIMULATOR_FLEET", defaults.fleet)),
        account=given("SIMULATOR_ACCOUNT", defaults.account),
        other_account=given("SIMULATOR_OTHER_ACCOUNT", defaults.other_account),
        consent=cast("Consent", given("SIMULATOR_CONSENT", defaults.consent)),
        strict=given("SIMULATOR_STRICT", "") == "true",
        spellings=frozenset(filter(None, given("SIMULATOR_SPELLINGS", "").split(","))),
        latency_s=float(given("SIMULATOR_LATENCY_S", defaults.latency_s)),
    )
    return create_simulator(options, RealClock(float(given("SIMULATOR_SPEED", "1"))))
