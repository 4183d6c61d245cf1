"""Manners towards providers: connections, time limits, retries, and the translation of failures."""

import asyncio
import email.utils
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import httpx
import httpx_aiohttp
import msgspec
import pydantic
import stamina

from app.errors import ProviderError, ProviderThrottled, ProviderTimeout, ProviderUnavailable, UnexpectedReply
from app.model import Deadline, ProviderName
from app.provider import Slot

T = TypeVar("T")

TRANSIENT_STATUSES = frozenset({502, 503, 504})
"""Statuses after which the same request may be sent again: the provider's front door answered, not the service."""


def http_client(
    transport: httpx.AsyncBaseTransport | None, *, connect_timeout_s: float, max_connections: int
) -> httpx.AsyncClient:
    """Make the client of one provider, with connections of its own; `transport` replaces the network.

    The caller closes it. Redirects are not followed: a provider that redirects is misconfigured, and a
    bearer token must not travel to another host. Cookies are not kept.
    """
    return httpx.AsyncClient(
        transport=transport or _network(max_connections),
        timeout=httpx.Timeout(None, connect=connect_timeout_s),
        follow_redirects=False,
    )


def _network(max_connections: int) -> httpx.AsyncBaseTransport:
    tls = ssl.create_default_context()

    def open_session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=max_connections, ssl=tls, keepalive_timeout=15)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    return httpx_aiohttp.AiohttpTransport(client=open_session)


@contextmanager
def translated_errors(provider: ProviderName) -> Iterator[None]:
    """Turn the HTTP library's and the decoders' exceptions into provider errors.

    Raises:
        ProviderTimeout: The time ran out while the provider had, or may have had, the request.
        ProviderUnavailable: No connection, or it broke.
        UnexpectedReply: The answer could not be decoded.
    """
    try:
        yield
    except ProviderError as error:
        error.provider = error.provider or provider
        raise
    except httpx.TimeoutException as error:
        if _never_sent(error):
            raise ProviderUnavailable("No connection could be made.", provider=provider) from error
        raise _broken_off(error, provider) from error
    except httpx.TransportError as error:
        if _never_sent(error):
            raise ProviderUnavailable("No connection could be made.", provider=provider) from error
        raise _broken_off(error, provider) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise UnexpectedReply(
            "The answer broke the HTTP protocol.", provider=provider, may_have_been_received=True
        ) from error
    except (pydantic.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedReply(
            "The answer is not in a form the gateway can read.", provider=provider, may_have_been_received=True
        ) from error


def _never_sent(error: httpx.TransportError) -> bool:
    # The aiohttp transport reports a connection lost after sending as ConnectTimeout; only the cause tells them apart.
    match error.__cause__:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.InvalidURL():
            return True
        case aiohttp.ClientError():
            return False
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol)


def _broken_off(error: httpx.TransportError, provider: ProviderName) -> ProviderError:
    timed_out = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
    if timed_out:
        return ProviderTimeout("No answer came in time.", provider=provider, may_have_been_received=True)
    return ProviderUnavailable(
        "The connection broke before the answer was complete.", provider=provider, may_have_been_received=True
    )


@asynccontextmanager
async def within(deadline: Deadline, provider: ProviderName, *, limit_s: float | None = None) -> AsyncIterator[None]:
    """Bound the block by the deadline, and by `limit_s` when that is shorter; bounds waiting for a connection too.

    Raises:
        ProviderTimeout: The time ran out; whether the provider had the request is not known.
    """
    left_s = deadline.left_s()
    try:
        async with asyncio.timeout(left_s if limit_s is None else min(left_s, limit_s)):
            yield
    except TimeoutError as error:
        raise ProviderTimeout("No answer came in time.", provider=provider, may_have_been_received=True) from error


def retry_after_s(response: httpx.Response, *, now: datetime | None = None) -> float | None:
    """Read `Retry-After`, in seconds or as a date (RFC 9110, section 10.2.3); None when absent or unreadable."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then.astimezone(UTC) - (now or datetime.now(UTC))).total_seconds())


async def with_retries(
    call: Callable[[], Awaitable[T]], *, attempts: int, deadline: Deadline, repeat_timeouts: bool = False
) -> T:
    """Await `call`, and repeat it with jittered backoff where the provider cannot have begun the work.

    Repeated are failures whose `may_have_been_received` is false and that are throttled or unavailable; a
    `Retry-After` is honoured when it ends before the deadline, else the failure is final. `repeat_timeouts`
    repeats calls that were not answered in time as well, which may start, and bill, the work twice.
    """

    def wait(error: Exception) -> bool | float:
        if isinstance(error, ProviderTimeout):
            return repeat_timeouts and deadline.left_s() > 0
        if not isinstance(error, ProviderUnavailable | ProviderThrottled) or error.may_have_been_received:
            return False
        if error.retry_after_s is None:
            return deadline.left_s() > 0
        return error.retry_after_s if error.retry_after_s < deadline.left_s() else False

    # Retrying has a price of its own, so a call that succeeds at once never meets it.
    try:
        return await call()
    except ProviderError as error:
        if attempts <= 1 or wait(error) is False:
            raise
        failed = [error]
    async for attempt in stamina.retry_context(
        on=wait, attempts=attempts, timeout=deadline.left_s(), wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
    ):
        with attempt:
            if failed:
                raise failed.pop()
            return await call()
    raise AssertionError("stamina always returns or raises")


class PrivateVault:
    """A vault for one process alone: for tests, and for providers built without a database."""

    def __init__(self) -> None:
        self._values: dict[tuple[ProviderName, str], bytes] = {}
        self._locks: dict[tuple[ProviderName, str], asyncio.Lock] = {}

    async def read(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> bytes | None:
        """Read without locking."""
        return self._values.get((provider, name))

    @asynccontextmanager
    async def locked(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> AsyncIterator[Slot]:
        """Hold the place alone while the block runs."""
        key = (provider, name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield _PrivateSlot(self._values, key)


class _PrivateSlot:
    def __init__(self, values: dict[tuple[ProviderName, str], bytes], key: tuple[ProviderName, str]) -> None:
        self._values = values
        self._key = key
        self.value = values.get(key)

    async def put(self, value: bytes | None) -> None:
        self.value = value
        if value is None:
            self._values.pop(self._key, None)
        else:
            self._values[self._key] = value
