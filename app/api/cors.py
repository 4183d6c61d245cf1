"""Browser applications of other origins (CORS): whose pages may read answers, and what they may send."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

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


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins use an application; `*` stands for all, and none leaves it as it is.

    Answers preflight requests itself, before keys are looked at: browsers send them without.
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
