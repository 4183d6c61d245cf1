"""Routes whose handlers are given the simulator's state."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator.state import State
from app.simulator.vendors.thingspace.errors import Refused

Handler = Callable[[State, Request], Awaitable[Response]]

OAUTH = "/api/ts/v1"
M2M = "/api/m2m/v1"
LOCATION = "/api/loc/v1"
SUBSCRIPTION = "/api/subsc/v1"
CONTROL = "/control/thingspace"


def route(state: State, method: str, path: str, handler: Handler) -> Route:
    """Bind a handler to a path; its refusals become answers."""

    async def endpoint(request: Request) -> Response:
        try:
            return await handler(state, request)
        except Refused as refusal:
            return refusal.response

    return Route(path, endpoint, methods=[method])
