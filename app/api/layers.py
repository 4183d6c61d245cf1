"""ASGI layers around the application: compressed answers, and browser applications of other origins (CORS)."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.problems import problem_response
from app.errors import PermissionDenied
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
