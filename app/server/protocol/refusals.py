"""What the server answers by itself, because the application cannot: problem documents, as everywhere."""

from collections.abc import Iterable

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.api.problems import problem_response
from app.errors import GatewayError, MalformedRequest, Unavailable, UnsupportedVersion
from app.ids import new_public_id
from app.observability import metrics


def to_refusal(error: httptools.HttpParserError) -> GatewayError:
    """Describe what is wrong with a request that could not be parsed."""
    if isinstance(error.__context__, GatewayError):
        return error.__context__
    if "PRI/Upgrade" in str(error):
        return UnsupportedVersion("HTTP/2 is not spoken here; speak HTTP/1.1.")
    return MalformedRequest("This is no HTTP/1.1 (RFC 9112); escape blanks and characters outside ASCII in addresses.")


def to_last_answer(error: GatewayError, headers: Iterable[tuple[bytes, bytes]], *, has_body: bool) -> bytes:
    """Write a problem as the last answer on a connection; count it.

    Args:
        headers: What every answer of the server has.
        has_body: Whether the request was another one than HEAD.
    """
    metrics.REFUSED.labels(error.code).inc()
    request_id = new_public_id()
    response = problem_response(error, request_id, headers={"X-Request-Id": request_id, "Connection": "close"})
    lines = (b"%b: %b\r\n" % header for header in (*headers, *response.raw_headers))
    head = STATUS_LINE[response.status_code] + b"".join(lines) + b"\r\n"
    return head + bytes(response.body) if has_body else head


async def refuse_for_now(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request while the server has as many connections as it takes; count it."""
    error = Unavailable("The gateway has as many connections as it takes.", retry_after_s=1)
    metrics.REFUSED.labels(error.code).inc()
    request_id = new_public_id()
    await problem_response(error, request_id, headers={"X-Request-Id": request_id})(scope, receive, send)
