"""Connections: from bytes to requests, each answered in its turn, by the application or with a refusal.

A head has to be within a size. What cannot be given to the application is answered with a problem document, and ends
the connection. An offer of another protocol is passed over.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from app.errors import GatewayError, HeadersTooLarge, RequestTimeout, UnsupportedVersion
from app.server.protocol.refusals import refuse_for_now, to_last_answer, to_refusal
from app.server.protocol.timeouts import TimedProtocol

LARGEST_HEAD = 64 * 1024
_VERSIONS = frozenset({"1.1", "1.0"})


class DrainState(ServerState):
    """What the connections of a server share.

    Attributes:
        is_draining: Whether each connection is closed with its next answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = False


class GatewayProtocol(TimedProtocol):
    """HTTP/1.1 with limits, and with problem documents for what never reaches the application.

    Attributes:
        is_arriving: Whether a request has begun to arrive, and its end has not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._state = self.server_state if isinstance(self.server_state, DrainState) else DrainState()
        self.url = b""
        self.scope = {}
        self.is_arriving = False
        self._is_refused = False
        self._last_answer: bytes | None = None
        # For the size of a head: what was read last, with the beginning of the head, and since then.
        self._read_bytes = 0
        self._first_bytes = 0
        self._head_bytes = 0
        self._has_ended_one = False

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, and wait for the rest if there is one."""
        if self._is_refused:
            return
        self.idle_since = None
        self._read_bytes = len(data)
        self._has_ended_one = False
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse(to_refusal(error))
            return
        if not self.is_arriving:
            if self.read_timer is not None:
                self.stop_read_timer()
            return
        self.start_read_timer()
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse(_too_large())

    def shutdown(self) -> None:
        """Close the connection, unless a request is being answered or has begun to arrive."""
        if self.is_arriving or self.is_answering:
            self.close_after_answer()
        else:
            self.transport.close()

    def close_after_answer(self) -> None:
        """Announce `Connection: close` in the pending answer, if there is one."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    # The parser

    def _parse(self, data: bytes | memoryview) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
                self._parse_head_again()
            else:
                return

    def _parse_head_again(self) -> None:
        """Parse the head that has just been read once more, without the offer in it (RFC 9110, section 7.8).

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
        self.is_arriving = True
        self._first_bytes = self._read_bytes
        # How much of what was read belongs to the request before is not known.
        self._head_bytes = -self._read_bytes if self._has_ended_one else 0

    def on_headers_complete(self) -> None:
        """Let the application answer, after the requests before; what the server cannot serve is refused instead."""
        if self.parser.should_upgrade():
            return
        self._complete_scope()
        app: Any = refuse_for_now if self.is_full else self.app
        keep_alive = self.keeps_alive and self.scope["http_version"] == "1.1"
        cycle = self._new_cycle(self.scope, keep_alive=keep_alive, is_awaited=self.expect_100_continue)
        if self.is_answering:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
        else:
            self._start_asgi_task(cycle, app)
        self.cycle = cycle
        # The parser hands trailers over as it does headers, and they are none (RFC 9110, section 6.5.1).
        self.headers = []

    def on_message_complete(self) -> None:
        """Note that all of a request is there."""
        if self.parser.should_upgrade():
            return
        self.end_message()
        super().on_message_complete()

    def end_message(self) -> None:
        """Stop waiting for the rest of the request."""
        self.is_arriving = False
        self._has_ended_one = True

    @property
    def _has_head(self) -> bool:
        return "method" in self.scope

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection goes on after the answer to the request that is arriving, in HTTP/1.1."""
        return self.parser.should_keep_alive() and not self._state.is_draining

    def _complete_scope(self) -> None:
        """Write the request's head into the scope.

        Raises:
            UnsupportedVersion, HeadersTooLarge: It cannot be served.
        """
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise UnsupportedVersion("Speak HTTP/1.1 here.")
        self.check_head()
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        self.scope.update(
            http_version=version,
            method=self.parser.get_method().decode("ascii"),
            path=unquote(path) if "%" in path else path,
            raw_path=raw_path,
            query_string=url.query or b"",
        )

    def check_head(self) -> None:
        """Refuse a head that is too large.

        Raises:
            HeadersTooLarge: It is.
        """
        if self._first_bytes + self._head_bytes + self._read_bytes <= LARGEST_HEAD:
            return  # Nearly always; what it really has is counted only where it may be too much.
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > LARGEST_HEAD:
            raise _too_large()

    # Answers

    @property
    def is_answering(self) -> bool:
        """Whether an answer is due, to a request whose head has arrived."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_full(self) -> bool:
        """Whether the server has as many connections or requests as it takes."""
        limit = self.limit_concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)

    def begin(self, scope: Any, app: Any, body: bytes, *, is_complete: bool, keep_alive: bool) -> None:
        """Let an application answer a request that has taken the fast path until now."""
        cycle = self._new_cycle(scope, keep_alive=keep_alive)
        cycle.body += body
        cycle.more_body = not is_complete
        cycle.disconnected = self.transport.is_closing()
        cycle.message_event.set()
        if not self.pipeline:
            self.cycle = cycle
        self._start_asgi_task(cycle, app)

    def _new_cycle(self, scope: Any, *, keep_alive: bool, is_awaited: bool = False) -> RequestResponseCycle:
        """Make what carries one request to the application, and its answer back.

        Args:
            is_awaited: Whether the client waits to be asked for the body.
        """
        return RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=is_awaited,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def on_response_complete(self) -> None:
        """Go on with the next request, or begin to wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self._last_answer is not None:
            self.close_with(self._last_answer)
            return
        self.start_idling()

    # Refusals

    def give_up(self) -> None:
        """Refuse a request that has not arrived in time; close a connection without one."""
        if self.is_arriving:
            self._refuse(RequestTimeout(f"The request did not arrive within {self.read_timeout_s:g} seconds."))
        else:
            self.transport.close()

    def _refuse(self, error: GatewayError) -> None:
        """Answer what has arrived last with a problem, after the requests before it, and read no more."""
        self.stop_read_timer()
        self._is_refused = True
        if self.transport.is_closing():
            return
        # Before the request line has been read the parser knows of no method, and names another one.
        is_head = bool(self.url) and self.parser.get_method() == b"HEAD"
        answer = to_last_answer(error, self.server_state.default_headers, has_body=not is_head)
        if self._has_head and self.pipeline:
            self.pipeline.popleft()
        elif self._has_head and self.is_answering and self.abandon():
            # All there is left to do is not to wait for the rest of it.
            answer = b""
        if self.is_answering:
            self._last_answer = answer
        else:
            self.close_with(answer)

    def abandon(self) -> bool:
        """Leave a request that will not arrive as a whole; return whether its answer has begun."""
        self.cycle.disconnected = self.cycle.response_complete = True
        self.cycle.message_event.set()
        return self.cycle.response_started


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"Send at most {LARGEST_HEAD} bytes before the body.")
