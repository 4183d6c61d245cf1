"""What every request passes first: an id, the API key, and afterwards one line in the log and in the metrics.

The busiest routes have lanes of their own from here: the framework's layers and its search for the route cost more
than everything that the gateway itself does for a location.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.access import Rate
from app.api.access import check_scope
from app.api.body import JsonRoute
from app.api.gateway import Gateway
from app.api.parameters import refuse_nul
from app.api.problems import problem_response
from app.caller import ANYONE, Caller
from app.errors import GatewayError
from app.observability import metrics
from app.observability.tracing import CURRENT, continued

log = structlog.get_logger()

_LONGEST_ID = 60
_UNMATCHED = "unmatched"
_PRINTABLE = frozenset(range(0x20, 0x7F))


DirectRoutes = Mapping[tuple[str, str], tuple[APIRoute, Callable[[Request], Awaitable[Response]]]]


def direct_routes(routers: Iterable[APIRouter]) -> DirectRoutes:
    """Make lanes for all routes that read JSON and have a constant path, by method and path."""
    return {
        (method, route.path): (route, route.get_route_handler())
        for router in routers
        for route in router.routes
        if isinstance(route, JsonRoute) and "{" not in route.path
        for method in route.methods or ()
    }


class Middleware:
    """Pure ASGI, around the application."""

    def __init__(self, app: ASGIApp, direct_routes: DirectRoutes) -> None:
        self._app = app
        self._lanes = direct_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = time.perf_counter()
        gateway: Gateway = scope["app"].state.gateway
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = scope["request_id"] = _request_id(headers.get(b"x-request-id"))
        own_headers = [(b"x-request-id", request_id.encode())]
        status = 500
        response_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, response_started
            if message["type"] == "http.response.start":
                status = message["status"]
                response_started = True
                message["headers"] = [*message.get("headers", ()), *own_headers]
            await send(message)

        sent = headers.get(b"traceparent")
        span = None if gateway.recorder is None else gateway.recorder.request(scope["method"], sent)
        CURRENT.set(span or continued(sent))
        caller = ANYONE
        try:
            if not gateway.access.is_open(scope["path"]):
                authorization = headers.get(b"authorization")
                caller = await gateway.access.caller(authorization.decode("latin-1") if authorization else None)
                if caller.rate_per_minute is not None:
                    await _count(gateway, caller, own_headers)
                check_scope(caller, scope["method"], scope["path"])
            scope["caller"] = caller
            await self._dispatch(scope, receive, send_with_id)
        except GatewayError as error:
            await problem_response(error, request_id)(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 -- the last line of defence: a constant text for the caller
            # The text of the exception may hold identifiers; its type and place are enough to find it.
            log.error("unexpected failure", error=type(error).__name__, where=_where(error), request_id=request_id)
            if not response_started:
                await problem_response(GatewayError(), request_id)(scope, receive, send_with_id)
        finally:
            route = _route(scope)
            seconds = time.perf_counter() - started
            metrics.request(scope["method"], route, status, seconds)
            log.info(
                "request",
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 1),
                request_id=request_id,
                key=caller.key_id,
            )
            if span is not None:
                span.end_request(scope["method"], None if route == _UNMATCHED else route, status)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        lane = self._lanes.get((scope["method"], scope["path"]))
        if lane is not None:
            scope["route"], handle = lane
            response = await handle(Request(scope, receive, send))
            await response(scope, receive, send)
            return
        refuse_nul(scope)
        if scope["method"] == "HEAD":
            # What answers GET answers HEAD as well, without the body (RFC 9110, section 9.3.2).
            asked = {**scope, "method": "GET"}
            try:
                await self._app(asked, receive, _without_body(send))
            finally:
                scope["route"] = asked.get("route")
        else:
            await self._app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


async def _count(gateway: Gateway, caller: Caller, headers: list[tuple[bytes, bytes]]) -> None:
    """Count a request of a key with a limit, and say in the answer's headers how it stands.

    Raises:
        RateExceeded: It is one too many.
        Unavailable: It cannot be counted.
    """
    rate = await gateway.rate_limits.count(caller)
    if rate is not None:
        headers += rate_headers(rate)
        rate.check()


def rate_headers(rate: Rate) -> list[tuple[bytes, bytes]]:
    """Write the header fields of the IETF draft on rate limits, as structured fields."""
    return [
        (b"ratelimit-policy", b'"minute";q=%d;w=60' % rate.quota),
        (b"ratelimit", b'"minute";r=%d;t=%d' % (rate.left, rate.reset_s)),
    ]


def _request_id(sent: bytes | None) -> str:
    if sent and len(sent) <= _LONGEST_ID and _PRINTABLE.issuperset(sent):
        return sent.decode("ascii")
    return str(ULID())


def _route(scope: Scope) -> str:
    """Name the route by its pattern, so that paths with identifiers never reach logs or labels."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or _UNMATCHED


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""
