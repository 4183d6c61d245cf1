"""Posts deliveries: resolves the name, judges its addresses, and connects to one of those that were judged.

Redirects are not followed, cookies are not kept, and no proxy that the environment names is used: a proxy would resolve
the name once more.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx

from app.subscriptions.addresses import DeliveryRules, permitted
from app.subscriptions.receiver import LONGEST_ANSWER, Answer
from app.upstream import USER_AGENT, retry_after_s

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 2.0
"""What follows an answer's status is only for people to read; it is not waited for any longer."""
_KEEPALIVE_S = 4.0
_LONGEST_RETRY_AFTER_S = 24 * 3600.0
_MOST_READ_BYTES = 16 * 1024
_MOST_HOSTS = 256
_CONNECTIONS_PER_HOST = 64
_MOST_ADDRESSES_TRIED = 3
_WORDS = {
    httpx.ConnectTimeout: f"no connection within {_CONNECT_TIMEOUT_S:g} seconds",
    httpx.ConnectError: "no connection could be made",
    httpx.TransportError: "the connection broke before an answer came",
    OSError: "the name of the host could not be resolved",
}
_PORTS = {"http": 80, "https": 443}


async def resolve(host: str, port: int) -> list[str]:
    """Look up the addresses of a name with the system's resolver.

    Raises:
        OSError: It has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    return [str(address[0]) for *_, address in found]


class HttpReceiver:
    """Receivers of deliveries, over the network.

    Each host has connections of its own: one that was made to a host, and whose certificate was checked for it, is
    never used for another host at the same address.
    """

    def __init__(
        self,
        rules: DeliveryRules,
        *,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Take the rules by which addresses are judged; nothing is connected yet."""
        self._rules = rules
        self._resolve = resolve
        self._tls = tls
        self._timeout_s = timeout_s
        self._transports: OrderedDict[tuple[str, str, int], httpx.AsyncHTTPTransport] = OrderedDict()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a delivery once; what the receiver or the network does wrong stands in the answer."""
        began = time.monotonic()
        status: int | None = None
        error: str | None = None
        text, retry_after = "", None
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._send(httpx.URL(url), headers, body)
                status, retry_after = response.status_code, retry_after_s(response, longest_s=_LONGEST_RETRY_AFTER_S)
            text = await _beginning(response)
        except TimeoutError:
            error = f"no answer within {self._timeout_s:g} seconds"
        except (httpx.TransportError, httpx.InvalidURL, OSError, UnicodeError) as failure:
            error = _in_words(failure)
        duration_ms = round((time.monotonic() - began) * 1000)
        return Answer(status=status, duration_ms=duration_ms, text=text, error=error, retry_after_s=retry_after)

    async def aclose(self) -> None:
        """End all connections."""
        while self._transports:
            _, transport = self._transports.popitem()
            await transport.aclose()

    async def _send(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        port = url.port or _PORTS.get(url.scheme, 0)
        addresses = permitted(self._rules, await self._resolve(url.host, port), scheme=url.scheme)
        if not addresses:
            raise _NotAllowed("none of the addresses that the name leads to may be connected to")
        transport = await self._transport(url.scheme, url.host, port)
        *first, last = addresses[:_MOST_ADDRESSES_TRIED]
        for address in first:
            try:
                return await transport.handle_async_request(_request(url, address, headers, body))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await transport.handle_async_request(_request(url, last, headers, body))

    async def _transport(self, scheme: str, host: str, port: int) -> httpx.AsyncHTTPTransport:
        origin = (scheme, host, port)
        found = self._transports.pop(origin, None)
        if found is None:
            if self._tls is None:
                self._tls = ssl.create_default_context()
            limits = httpx.Limits(max_connections=_CONNECTIONS_PER_HOST, keepalive_expiry=_KEEPALIVE_S)
            found = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, limits=limits)
        self._transports[origin] = found
        if len(self._transports) > _MOST_HOSTS:
            _, oldest = self._transports.popitem(last=False)
            await oldest.aclose()
        return found


class _NotAllowed(httpx.TransportError):
    """No address of a name may be connected to."""


def _request(url: httpx.URL, address: str, headers: Mapping[str, str], body: bytes) -> httpx.Request:
    """Make a request that goes to a numeric address, and bears the name in `Host` and in the TLS handshake."""
    return httpx.Request(
        "POST",
        url.copy_with(host=address),
        headers={
            "Host": url.netloc.decode("ascii"),
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **headers,
        },
        content=body,
        extensions={"sni_hostname": url.host, "timeout": {"connect": _CONNECT_TIMEOUT_S}},
    )


async def _beginning(response: httpx.Response) -> str:
    """Read the beginning of an answer; a longer one ends with its connection."""
    read = bytearray()
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            async for part in response.aiter_raw():
                read += part
                if len(read) > _MOST_READ_BYTES:
                    break
    except (TimeoutError, httpx.TransportError):
        pass
    finally:
        await response.aclose()
    # Postgres takes no NUL in any text.
    return bytes(read).decode(errors="replace").replace("\0", "\ufffd")[:LONGEST_ANSWER]


def _in_words(failure: Exception) -> str:
    """Describe a failure without the words of libraries, which may hold addresses."""
    if isinstance(failure, httpx.ConnectError) and "CERTIFICATE" in str(failure):
        return "the certificate of the receiver is not valid"
    if isinstance(failure, _NotAllowed):
        return str(failure)
    return next((words for kind, words in _WORDS.items() if isinstance(failure, kind)), "the address cannot be used")
