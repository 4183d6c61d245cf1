"""An httpx transport over keep-alive connections of its own, in place of the one that httpx brings.

The pool that httpx brings walks all its requests for each of them, which makes it the bottleneck of the gateway; the
figures stand in `benchmarks/README.md`. This one is also strict where billed calls need it: a request is written once,
on a connection known to be open, and the exception shows whether the provider may have received it.
"""

import asyncio
import ssl
import zlib
from collections import deque
from collections.abc import Iterable

import httpx

from app.upstream.connection import Connection
from app.upstream.response import WholeResponse

MAX_ANSWER_BYTES = 16 * 1024 * 1024
KEEPALIVE_S = 4.0
"""How long an idle connection may be used again: a second less than the 5 s after which many servers close theirs.

What is sent at the moment in which the other side closes gets no answer, and must not be sent again if it is billed.
"""
_PORTS = {"http": 80, "https": 443}
_BODILESS = frozenset({"GET", "DELETE", "OPTIONS"})
_WRITTEN_HERE = frozenset({b"content-length", b"transfer-encoding"})

Origin = tuple[str, str, int | None]
"""Scheme, host and port; the port is None where it is the scheme's own."""
_EITHER_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class KeepAliveTransport(httpx.AsyncBaseTransport):
    """Plain HTTP/1.1 over TCP and TLS; answers are read whole.

    The time limits of a request are httpx's, but for `read`, which bounds the whole answer, and `write`, which is
    not used. Anything that is raised before a connection was there is an `httpx.ConnectError`, `ConnectTimeout`,
    `PoolTimeout`, `UnsupportedProtocol` or `LocalProtocolError`; after that it is none of these.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        tls: ssl.SSLContext | None = None,
        keepalive_s: float = KEEPALIVE_S,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._slots = asyncio.Semaphore(max_connections)
        self._tls = tls
        self._keepalive_s = keepalive_s
        self._max_answer_bytes = max_answer_bytes
        self._connections: set[Connection] = set()
        self._idle: dict[Origin, deque[Connection]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once and read the whole answer.

        Raises:
            httpx.TransportError: See the class.
            httpx.DecodingError: The body is packed in a way that was not asked for, or unpacks to too much.
        """
        stream = request.stream
        message = to_message(
            request, b"".join(stream) if isinstance(stream, httpx.ByteStream) else await request.aread()
        )
        url = request.url
        origin = (url.scheme, url.host, url.port)
        limits = request.extensions.get("timeout", {})
        await self._enter(limits.get("pool"))
        try:
            connection = self._take(origin) or await self._connect(origin, limits.get("connect"))
            try:
                answer = await connection.exchange(message, timeout_s=limits.get("read"))
            except BaseException:
                connection.abort()
                raise
            self._give_back(origin, connection)
        finally:
            self._slots.release()
        body = decode(answer.headers, answer.body, self._max_answer_bytes)
        return WholeResponse(answer.status, answer.headers, body, request)

    async def aclose(self) -> None:
        """End all connections; exchanges under way fail."""
        for connection in tuple(self._connections):
            connection.abort()
        # A connection learns that it is lost in the loop's next round; without one, connections would outlive the loop.
        await asyncio.sleep(0)

    async def _enter(self, timeout_s: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("All connections are in use.") from error

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        if not idle:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_open and now - connection.idle_since <= self._keepalive_s:
                return connection
            connection.abort()
        return None

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        if not connection.is_open:
            return
        now = connection.idle_since = asyncio.get_running_loop().time()
        idle = self._idle.setdefault(origin, deque())
        idle.append(connection)
        while idle and (not idle[0].is_open or now - idle[0].idle_since > self._keepalive_s):
            idle.popleft().abort()

    async def _connect(self, origin: Origin, timeout_s: float | None) -> Connection:
        scheme, host, port = origin
        if scheme not in _PORTS or not host:
            raise httpx.UnsupportedProtocol("Only http and https addresses can be called.")
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._max_answer_bytes, self._connections.discard),
                    host,
                    port or _PORTS[scheme],
                    ssl=self._context() if scheme == "https" else None,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("No connection was made in time.") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("No connection could be made.") from error
        self._connections.add(connection)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def to_message(request: httpx.Request, body: bytes) -> bytes:
    """Write a request as HTTP/1.1, framed by its length.

    Raises:
        httpx.LocalProtocolError: A header, or the method, holds a line break; or the method is one whose answers are
            framed in a way of their own.
    """
    if request.method in {"HEAD", "CONNECT"}:
        raise httpx.LocalProtocolError("Providers are not asked with HEAD or CONNECT.")
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b" % item for item in request.headers.raw if item[0].lower() not in _WRITTEN_HERE]
    if body or request.method not in _BODILESS:
        lines.append(b"Content-Length: %d" % len(body))
    head = b"\r\n".join(lines)
    if head.count(b"\n") >= len(lines) or head.count(b"\r") >= len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError("A header holds a line break.")
    return b"%b\r\n\r\n%b" % (head, body)


def decode(headers: Iterable[tuple[bytes, bytes]], body: bytes, max_bytes: int) -> bytes:
    """Undo the content encoding that the headers state.

    Raises:
        httpx.DecodingError: It is not gzip or deflate, is broken, or unpacks to more than `max_bytes`.
    """
    encodings = [value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"]
    encoding = b",".join(encodings)
    if not body or encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
        raise httpx.DecodingError("The answer is packed in an unknown way.")
    unpacker = zlib.decompressobj(_EITHER_GZIP_OR_ZLIB)
    try:
        unpacked = unpacker.decompress(body, max_bytes)
    except zlib.error as error:
        raise httpx.DecodingError("The answer cannot be unpacked.") from error
    if not unpacker.eof:
        raise httpx.DecodingError("The answer is too large, or cut off.")
    return unpacked
