"""What stands around the routes: error handlers, compressed answers, and browsers of other origins (CORS)."""

import re
from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.gateway import request_id_of
from app.api.problems import problem_response, to_fields_error
from app.errors import GatewayError, MethodNotAllowed, NotFound, PermissionDenied, RequestError
from app.ids import new_public_id

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENT = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "traceparent",
    "tracestate",
    "X-Request-Id",
)
READ = ("Content-Disposition", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")
_PREFLIGHT_AGE_S = 600
_SMALLEST = 1024
"""Bytes; what is smaller fits into one packet anyway."""
_LEVEL = 1
"""Takes a fifth of the time of the usual level, and makes answers of reports a quarter larger than that one."""
_GZIP_REFUSED = re.compile(rb"gzip\s*;\s*q\s*=\s*0(?:\.0{0,3})?\s*(?:,|$)", re.IGNORECASE)


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins use an application; `*` stands for all, and none leaves it as it is.

    Answers preflight requests itself, before authentication: browsers send them without a key.
    """
    if not origins:
        return app
    return _Cors(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT,
        expose_headers=READ,
        max_age=_PREFLIGHT_AGE_S,
    )


class _Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight request; a refused one as a problem."""
        response = super().preflight_response(request_headers)
        if response.status_code == 200:  # noqa: PLR2004 -- what the base class answers where nothing is refused
            return response
        refusal = PermissionDenied(f"{bytes(response.body).decode()}; GATEWAY_CORS_ORIGINS names the origins.")
        return problem_response(refusal, new_public_id(), headers={"Vary": "Origin"})


class Compression:
    """Compresses with gzip: JSON, CSV and NDJSON shrink to about a tenth.

    Streams are compressed piece by piece as they come, and large pieces beside the event loop.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = GZipMiddleware(app, minimum_size=_SMALLEST, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `gzip;q=0` is a refusal (RFC 9110, section 12.4.2)."""
        if any(name == b"accept-encoding" and _GZIP_REFUSED.search(value) for name, value in scope["headers"]):
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"accept-encoding"]
        await self._app(scope, receive, send)


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer all errors with problems; `routes` are those whose methods `Allow` names."""

    async def answer_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem: RequestError
        if error.status_code == 405:  # noqa: PLR2004 -- the statuses that the router itself answers with
            problem = MethodNotAllowed("Use another method; the Allow header lists them.")
            return problem_response(problem, request_id_of(request), headers={"Allow": _allowed(request, routes)})
        problem = NotFound("Nothing exists at this path; /docs lists the routes.")
        return problem_response(problem, request_id_of(request), headers=dict(error.headers or {}))

    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_exception_handler(GatewayError, _answer_gateway_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_parameters)
    app.add_exception_handler(HTTPException, answer_http_exception)


async def _answer_unexpected(request: Request, _: Exception) -> Response:
    return problem_response(GatewayError(), request_id_of(request))


async def _answer_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return problem_response(error, request_id_of(request))


async def _answer_invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = to_fields_error("Some parameters are not valid.", error.errors())
    return problem_response(problem, request_id_of(request))


def _allowed(request: Request, routes: Sequence[BaseRoute]) -> str:
    """List the methods of a path, of all its routes; the router itself knows only those of the first one."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
