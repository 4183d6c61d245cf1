"""How providers are reached: one httpx client for each, directly or through the proxy that the environment names."""

import asyncio
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import httpx

from app.model import Deadline
from app.observability.tracing import CURRENT, Continued, Recorded
from app.settings import is_loopback
from app.upstream.pool import KEEPALIVE_S, MAX_ANSWER_BYTES, KeepAliveTransport
from app.upstream.response import WholeResponse

USER_AGENT = f"location-gateway/{version('location-gateway')}"
OPERATION = "operation"
"""The request extension that names the operation at the provider."""

_FIRST_ERROR = 400


def http_client(
    transport: httpx.AsyncBaseTransport | None,
    *,
    connect_timeout_s: float,
    max_connections: int,
    name: str = "provider",
) -> httpx.AsyncClient:
    """Make the client of one provider, with connections of its own; `transport` replaces the network.

    In traces its calls stand under `name`, and under the request extension `operation` where there is one.

    The caller closes it. Redirects are not followed: a provider that redirects is misconfigured, and a
    bearer token must not travel to another host. Cookies are not kept. A hot path builds its `httpx.Request` itself
    and hands it to `send`, which adds nothing to it, not even `USER_AGENT`; `post` and the like cost three times as
    much.
    """
    timeout = httpx.Timeout(None, connect=connect_timeout_s)
    return _LeanClient(transport or network(max_connections), name=name, timeout=timeout)


def limits_until(deadline: Deadline, *, connect_timeout_s: float) -> dict[str, float | None]:
    """Make the time limits (request extension `timeout`) under which nothing is sent after the deadline."""
    left_s = deadline.left_s()
    return {"pool": left_s, "connect": min(left_s, connect_timeout_s), "read": None, "write": None}


def network(max_connections: int) -> httpx.AsyncBaseTransport:
    """Make the transport to the outside, as the environment's proxy variables want it."""
    proxies = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme != "no"}
    if not proxies:
        return KeepAliveTransport(max_connections=max_connections)
    return ProxiedTransport(proxies, max_connections=max_connections)


class _LeanClient(httpx.AsyncClient):
    """An httpx client whose requests go straight to the transport: no cookies, no redirects, no credentials added."""

    def __init__(self, transport: httpx.AsyncBaseTransport, *, name: str, timeout: httpx.Timeout) -> None:
        super().__init__(
            transport=transport,
            timeout=timeout,
            follow_redirects=False,
            headers={"Accept-Encoding": "gzip", "User-Agent": USER_AGENT},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self._straight = transport
        self._name = name
        self._limits = timeout.as_dict()

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: Any = httpx.USE_CLIENT_DEFAULT,
        follow_redirects: Any = httpx.USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """Send the request as it is and, unless it is to be streamed, read the answer."""
        if auth is not httpx.USE_CLIENT_DEFAULT or follow_redirects is not httpx.USE_CLIENT_DEFAULT:
            return await super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        if self.is_closed:
            raise RuntimeError("The client is closed.")
        request.extensions.setdefault("timeout", self._limits)
        trace = CURRENT.get()
        if isinstance(trace, Recorded):
            response = await recorded(self._straight.handle_async_request, request, trace, self._name)
        else:
            if isinstance(trace, Continued):
                request.headers["traceparent"] = trace.traceparent
            response = await self._straight.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


class ProxiedTransport(httpx.AsyncBaseTransport):
    """Sends through the proxy that is named for a host's scheme, and directly where there is none.

    The rules are those of the standard library's `urllib.request`; loopback addresses are always called directly.
    """

    def __init__(self, proxies: dict[str, str], *, max_connections: int) -> None:
        self._proxies = proxies
        self._direct = KeepAliveTransport(max_connections=max_connections)
        self._limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=KEEPALIVE_S
        )
        self._through: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once, and read the whole answer."""
        proxy = self._proxy(request.url)
        if proxy is None:
            return await self._direct.handle_async_request(request)
        response = await self._transport(proxy).handle_async_request(request)
        try:
            body = await _read_bounded(response)
        finally:
            await response.aclose()
        return WholeResponse(response.status_code, response.headers.raw, body, request)

    async def aclose(self) -> None:
        """End all connections."""
        await self._direct.aclose()
        for transport in self._through.values():
            await transport.aclose()

    def _proxy(self, url: httpx.URL) -> str | None:
        address = url.netloc.decode("ascii")
        if is_loopback(url.host) or urllib.request.proxy_bypass(address):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")

    def _transport(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if proxy not in self._through:
            try:
                self._through[proxy] = httpx.AsyncHTTPTransport(
                    proxy=proxy if "://" in proxy else f"http://{proxy}",
                    verify=ssl.create_default_context(),
                    limits=self._limits,
                    trust_env=False,
                )
            except (ImportError, ValueError, httpx.InvalidURL) as error:
                raise httpx.UnsupportedProtocol("The environment names a proxy that cannot be used.") from error
        return self._through[proxy]


async def _read_bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise httpx.RemoteProtocolError("The answer is too large.")
    return bytes(body)


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
