"""Paths that ThingSpace does not have."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from app.simulator.state import State
from app.simulator.vendors.thingspace.errors import gateway_fault


def routes(_state: State) -> list[BaseRoute]:
    """List the route of all other paths below ThingSpace's; the last one to be asked."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route("/api/{path:path}", _answer, methods=methods)]


async def _answer(request: Request) -> Response:
    description = f"No resource at {request.url.path} for {request.method}"
    message = "No matching resource found in the API for the given request"
    return gateway_fault(900906, message, description, status=400).response
