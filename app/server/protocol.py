"""Connections of the server: a request has to arrive within a time, and its head within a size.

The server that this extends waits for ever for both. What arrives in one piece, as nearly all requests do, costs no
timer.
"""

import asyncio
from functools import cache
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.settings import Settings

LARGEST_HEAD = 64 * 1024
_REFUSAL = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = _REFUSAL % b"408 Request Timeout"
_TOO_LARGE = _REFUSAL % b"431 Request Header Fields Too Large"


@cache
def _read_timeout_s() -> float:
    return Settings().read_timeout_seconds


class State(ServerState):
    """What the connections of a server share.

    Attributes:
        is_draining: Whether each connection is closed with its next answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = False


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 with an end to its patience."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_arriving = False
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._state = self.server_state if isinstance(self.server_state, State) else State()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(_read_timeout_s(), self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super()._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, and wait for the rest if there is one."""
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if not self._is_arriving:
            if self._timer is not None:
                self._stop_timer()
            return
        if self._timer is None:
            self._timer = self.loop.call_later(_read_timeout_s(), self._give_up)
        if "method" not in self.scope:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse(_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        """Parse what has arrived; an offer to change the protocol is not taken (RFC 9110, section 7.8)."""
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                self._parse_head_again()
            else:
                return

    def _parse_head_again(self) -> None:
        """Parse the head that has just been read once more, without the offer.

        The parser takes what follows such a head for another protocol, and reads no body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("There are no tunnels through here.")
        head = [method, b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += name, b": ", value, b"\r\n"
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"".join(head) + b"\r\n")

    def on_message_begin(self) -> None:
        """Note that a request has begun to arrive."""
        super().on_message_begin()
        self._is_arriving = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Begin to answer; where the server is about to stop, as the last thing on this connection."""
        if self.parser.should_upgrade():
            return
        super().on_headers_complete()
        if self._state.is_draining:
            self.close_after_answer()

    def on_response_complete(self) -> None:
        """Go on with the next request, or begin to wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_after(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        # A timer goes on from request to request: to cancel one and begin another costs more than to look again.
        self._idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for so long, else look again when it could be."""
        idle_s = 0.0 if self._idle_since is None else self.loop.time() - self._idle_since
        if idle_s >= self.timeout_keep_alive:
            self.timeout_keep_alive_task = None
            super().timeout_keep_alive_handler()
        else:
            self._look_again_after(self.timeout_keep_alive - idle_s)

    def _look_again_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def close_after_answer(self) -> None:
        """Say `Connection: close` in the answer that is due, if one is."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close the connection, unless a request is being answered or has begun to arrive."""
        if self._is_arriving:
            self.close_after_answer()
        else:
            super().shutdown()

    def on_message_complete(self) -> None:
        """Note that all of a request is there."""
        if self.parser.should_upgrade():
            return
        self._is_arriving = False
        super().on_message_complete()

    def _give_up(self) -> None:
        self._timer = None
        if not self._is_arriving:
            self.transport.close()
        elif self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._refuse(_TOO_SLOW)
        else:
            # The answer is on its way already; all there is left to do is not to wait for the rest of the question.
            self.transport.close()

    def _refuse(self, answer: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
