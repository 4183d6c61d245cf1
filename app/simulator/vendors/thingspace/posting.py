"""A client for callbacks: one POST after another over a connection that is kept.

Written for this because a general HTTP client costs several times what a callback costs its receiver, and the
simulator must be able to keep a receiver busy from the same machine.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self, cast
from urllib.parse import SplitResult, urlsplit

import httptools

# Servers close idle connections, uvicorn after 5 s; a callback sent at that moment would be lost.
_IDLE_S = 2.0


class PostFailed(Exception):
    """The post was not answered: no connection, a broken one, no HTTP, or no answer in time."""


class _Origin(NamedTuple):
    host: str
    port: int
    is_tls: bool


class Poster:
    """Posts bodies, one at a time; keeps its last connection.

    Args:
        timeout_s: For one post, connecting included, in real seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._origin: _Origin | None = None
        self._connection: _Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post a body and return the status of the answer.

        Raises:
            PostFailed: There is no answer.
        """
        try:
            address = urlsplit(url)
            request = _to_request(address, body, headers)
            async with asyncio.timeout(self._timeout_s):
                connection = await self._connect(_to_origin(address))
                status = await connection.exchange(request)
        except (OSError, ValueError, TimeoutError, httptools.HttpParserError) as error:
            self._close()
            raise PostFailed from error
        return status

    async def _connect(self, origin: _Origin) -> "_Connection":
        if self._connection is not None and self._origin == origin and self._connection.is_reusable:
            return self._connection
        self._close()
        tls = ssl.create_default_context() if origin.is_tls else None
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(_Connection, origin.host, origin.port, ssl=tls)
        self._origin = origin
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Connection(asyncio.Protocol):
    """One connection, on which answers are awaited in turn; also what the parser of the answers calls back."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[int] | None = None
        self._used_at = time.monotonic()
        self._is_kept = True

    @property
    def is_reusable(self) -> bool:
        is_fresh = time.monotonic() - self._used_at < _IDLE_S
        return self._is_kept and is_fresh and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> int:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("The connection was closed before it was used")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status = await self._answer
        self._used_at = time.monotonic()
        return status

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("The connection was closed instead of an answer"))

    def on_message_complete(self) -> None:
        self._is_kept = self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _to_origin(address: SplitResult) -> _Origin:
    is_tls = address.scheme == "https"
    return _Origin(address.hostname or "", address.port or (443 if is_tls else 80), is_tls)


def _to_request(address: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {address.netloc.rpartition('@')[2]}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
