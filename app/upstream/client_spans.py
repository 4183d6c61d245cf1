"""One span for each exchange with a provider, repetitions and logins included; the provider continues it."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from app.observability.tracing import Recorded

OPERATION = "operation"
"""The request extension that names what is asked of the provider, in a word or two of ours."""

_FIRST_ERROR = 400


async def recorded(
    send: Callable[[httpx.Request], Awaitable[httpx.Response]], request: httpx.Request, trace: Recorded, provider: str
) -> httpx.Response:
    """Send a request under a span of its own."""
    operation = request.extensions.get(OPERATION, request.method)
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "server.address": request.url.host,
        "gateway.provider": provider,
        "gateway.operation": operation,
    }
    if request.url.port is not None:
        attributes["server.port"] = request.url.port
    call = trace.call(f"{provider} {operation}", attributes)
    request.headers["traceparent"] = call.traceparent
    try:
        response = await send(request)
    except BaseException as error:
        outcome = _outcome_of(error)
        call.end({"gateway.outcome": outcome}, error=outcome)
        raise
    status = response.status_code
    is_error = status >= _FIRST_ERROR
    told = {"http.response.status_code": status, "gateway.outcome": "refused" if is_error else "answered"}
    call.end(told, error=str(status) if is_error else None)
    return response


def _outcome_of(error: BaseException) -> str:
    # A time limit cancels the exchange; hardly anything else does.
    if isinstance(error, httpx.TimeoutException | asyncio.CancelledError):
        return "timeout"
    return "unavailable" if isinstance(error, httpx.TransportError) else "failed"
