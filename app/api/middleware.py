"""What is done for every request but callbacks: an id, the API key, and afterwards a line in the log and the metrics.

The busiest routes are called directly from here: the framework's layers and its search for the route cost more than
everything that the gateway itself does for a location.
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

from app.access import Rate
from app.api.access import check_scope
from app.api.body import JsonRoute
from app.api.gateway import Gateway
from app.api.parameters import refuse_nul
from app.api.problems import problem_response
from app.caller import ANYONE
from app.errors import GatewayError
from app.ids import new_public_id
from app.observability import metrics
from app.observability.tracing import CURRENT, Recorded, continued

log = structlog.get_logger()

_LONGEST_ID = 60
_UNMATCHED = "unmatched"
_PRINTABLE = frozenset(range(0x20, 0x7F))


DirectRoutes = Mapping[tuple[str, str], tuple[APIRoute, Callable[[Request], Awaitable[Response]]]]


def direct_routes(routers: Iterable[APIRouter]) -> DirectRoutes:
    """Find the routes that can be called directly, by method and path: they read JSON, and their path is constant."""
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
        self._direct_routes = direct_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        gateway: Gateway = scope["app"].state.gateway
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = scope["request_id"] = _request_id(headers.get(b"x-request-id"))
        scope["caller"] = ANYONE
        answer = _Answer(send, request_id)
        span = _begin_span(gateway, scope["method"], headers.get(b"traceparent"))
        try:
            if not gateway.access.is_open(scope["path"]):
                await _admit(gateway, scope, headers.get(b"authorization"), answer)
            await self._dispatch(scope, receive, answer.send)
        except GatewayError as error:
            await problem_response(error, request_id)(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 -- the last line of defence: a constant text for the caller
            # The text of the exception may hold identifiers; its type and place are enough to find it.
            log.error("unexpected failure", error=type(error).__name__, where=_where(error), request_id=request_id)
            if not answer.has_begun:
                await problem_response(GatewayError(), request_id)(scope, receive, answer.send)
        finally:
            _record(scope, answer, span)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = self._direct_routes.get((scope["method"], scope["path"]))
        if direct is not None:
            scope["route"], handle = direct
            response = await handle(Request(scope, receive, send))
            await response(scope, receive, send)
            return
        refuse_nul(scope)
        if scope["method"] == "HEAD":
            # What answers GET answers HEAD as well, without the body (RFC 9110, section 9.3.2).
            asked = {**scope, "method": "GET", "is_head": True}
            try:
                await self._app(asked, receive, _without_body(send))
            finally:
                scope["route"] = asked.get("route")
        else:
            await self._app(scope, receive, send)


class _Answer:
    """Sends an answer with the headers that every answer has, and remembers how it began.

    Attributes:
        headers: What is added to the answer's own headers.
        status: 500 until it begins.
    """

    __slots__ = ("_send", "began_at_s", "has_begun", "headers", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.began_at_s = time.perf_counter()
        self.has_begun = False
        self.headers = [(b"x-request-id", request_id.encode())]
        self.status = 500

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.has_begun = True
            message["headers"] = [*message.get("headers", ()), *self.headers]
        await self._send(message)


async def _admit(gateway: Gateway, scope: Scope, authorization: bytes | None, answer: _Answer) -> None:
    """Authenticate the caller, check its scopes, and count the request if its key has a rate limit.

    Raises:
        Unauthenticated, PermissionDenied: The key does not permit it.
        RateExceeded: It is one request too many.
        Unavailable: The key is not known here, or the request cannot be counted, and the database is away.
    """
    caller = await gateway.access.caller(authorization.decode("latin-1") if authorization else None)
    scope["caller"] = caller
    if caller.rate_per_minute is not None:
        rate = await gateway.rate_limits.count(caller)
        if rate is not None:
            answer.headers += rate_headers(rate)
            rate.check()
    check_scope(caller, scope["method"], scope["path"])


def _begin_span(gateway: Gateway, method: str, traceparent: bytes | None) -> Recorded | None:
    """Begin the span of a request, or pass the caller's trace on to providers where none is recorded."""
    span = None if gateway.recorder is None else gateway.recorder.request(method, traceparent)
    CURRENT.set(span or continued(traceparent))
    return span


def _record(scope: Scope, answer: _Answer, span: Recorded | None) -> None:
    """Log and count a request, and end its span."""
    route = _route(scope)
    seconds = time.perf_counter() - answer.began_at_s
    metrics.request(scope["method"], route, answer.status, seconds)
    log.info(
        "request",
        method=scope["method"],
        route=route,
        status=answer.status,
        ms=round(seconds * 1000, 1),
        request_id=scope["request_id"],
        key=scope["caller"].key_id,
    )
    if span is not None:
        span.end_request(scope["method"], None if route == _UNMATCHED else route, answer.status)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


def rate_headers(rate: Rate) -> list[tuple[bytes, bytes]]:
    """Write the header fields of the IETF draft on rate limits, as structured fields."""
    return [
        (b"ratelimit-policy", b'"minute";q=%d;w=60' % rate.quota),
        (b"ratelimit", b'"minute";r=%d;t=%d' % (rate.left, rate.reset_s)),
    ]


def _request_id(sent: bytes | None) -> str:
    if sent and len(sent) <= _LONGEST_ID and _PRINTABLE.issuperset(sent):
        return sent.decode("ascii")
    return new_public_id()


def _route(scope: Scope) -> str:
    """Name the route by its pattern, so that paths with identifiers never reach logs or labels."""
    route: Any = scope.get("route")
    return getattr(route, "path", None) or _UNMATCHED


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace else ""


def canonical_path(path: str) -> str:
    """Drop the slashes that clients add by joining addresses: doubled ones at the beginning, and all at the end.

    Doubled slashes inside a path stay, because an identifier that was left empty stands between them: without it, the
    path would name all things of a kind instead of one.
    """
    if path[-1:] != "/" and path[1:2] != "/":
        return path
    return "/" + path.strip("/")
