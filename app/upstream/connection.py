"""One connection to a provider: writes a request, reads the answer to it, and knows whether it may be used again."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools
import httpx

MAX_HEAD_BYTES = 64 * 1024
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_FIRST_FINAL_STATUS = 200


class UnreadableAnswer(httpx.RemoteProtocolError):
    """What came is no HTTP/1.1, or too much of it; the request was received."""


class RawResponse(NamedTuple):
    """A complete answer, its body as it came over the wire."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time and never repeats one.

    Attributes:
        is_open: Whether another exchange may be begun; false as soon as either side has ended the connection, or
            anything has come that was not asked for.
        idle_since: When the last exchange ended, on the clock of the event loop.
    """

    def __init__(self, max_answer_bytes: int, on_lost: Callable[["Connection"], None]) -> None:
        self.is_open = True
        self.idle_since = 0.0
        self._max_answer_bytes = max_answer_bytes
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[RawResponse] | None = None
        self._received_bytes = 0
        self._begin_head()

    async def exchange(self, message: bytes, *, timeout_s: float | None = None) -> RawResponse:
        """Send one request and wait for the whole answer; after a failure or a cancellation, `abort` it.

        Raises:
            httpx.ReadTimeout: The answer was not complete within `timeout_s`.
            httpx.ReadError: The connection broke after the request was handed to it.
            httpx.RemoteProtocolError: The connection ended before the answer was complete.
            UnreadableAnswer: The answer is no HTTP, or too large.
        """
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[RawResponse] = loop.create_future()
        self._answer = answer
        self._received_bytes = 0
        self._begin_head()
        self._transport.write(message)
        if timeout_s is None:
            return await answer
        timer = loop.call_later(timeout_s, self._fail, httpx.ReadTimeout("No answer came in time."))
        try:
            return await answer
        finally:
            timer.cancel()

    def abort(self) -> None:
        """End the connection at once."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits."""
        if self._answer is None:
            # Unsolicited: read as the answer to the next request, it would show one caller another one's position.
            self.abort()
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(UnreadableAnswer("The answer is no HTTP/1.1."))
        if self._answer is not None:
            limit = self._max_answer_bytes if self._has_head else MAX_HEAD_BYTES
            if self._received_bytes > limit:
                self._fail(UnreadableAnswer("The answer is too large."))

    def eof_received(self) -> None:
        """Note that the peer will send no more; the transport then closes itself."""
        self.is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Complete an answer that was to last until the end of the connection, else fail it."""
        self.is_open = False
        if self._answer is not None:
            if exc is not None:
                self._fail(httpx.ReadError("The connection broke."))
            elif self._has_head and not any(name.lower() in _FRAMING for name, _ in self._headers):
                self._finish()
            else:
                self._fail(httpx.RemoteProtocolError("The connection ended before the answer was complete."))
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """See the start of an answer, perhaps of one too many."""
        if self._answer is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what follows the body is no concern of ours."""
        if not self._has_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._has_head = True

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Hand the answer over, unless it only announces the real one (1xx)."""
        if self._parser.get_status_code() < _FIRST_FINAL_STATUS:
            self._begin_head()
            return
        assert self._transport is not None
        # A request that is still leaving while its answer is complete would run into the next one.
        if not self._parser.should_keep_alive() or self._transport.get_write_buffer_size():
            self.is_open = False
            self._transport.close()
        self._finish()

    def _begin_head(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._has_head = False

    def _finish(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(RawResponse(self._parser.get_status_code(), self._headers, b"".join(self._parts)))

    def _fail(self, error: httpx.TransportError) -> None:
        answer, self._answer = self._answer, None
        self.abort()
        if answer is not None and not answer.done():
            answer.set_exception(error)
