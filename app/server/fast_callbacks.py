"""Connections that bring callbacks to their door themselves.

For nearly all callbacks the whole request is there after one read, and the answer is empty. What the server makes of
each request, a task, and a journey through the application would cost more than taking the callback in; so what is
ordinary is queued from within the parser, and answered when its batch is committed. Whatever is not goes the ordinary
way.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.webhook import Webhook
from app.callbacks.tokens import Address
from app.errors import Unavailable
from app.server.protocol import PatientProtocol

_STORED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"


class CallbackProtocol(PatientProtocol):
    """HTTP/1.1 for an application that has a `webhook`, and is not wrapped into anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        application: Any = self.app
        self.door: Webhook = application.webhook
        self._held: HeldCallback | None = None
        self._acknowledgement = b""
        self._acknowledged_with: list[tuple[bytes, bytes]] | None = None

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a callback of which more is to come is no longer held back."""
        super().data_received(data)
        if self._held is not None:
            held, self._held = self._held, None
            held.pass_on(more_body=True)

    def on_headers_complete(self) -> None:
        """Hold a callback back until its body is there; begin to answer anything else."""
        address = self._address()
        if address is None:
            super().on_headers_complete()
        else:
            keep_alive = self.parser.should_keep_alive() and not self._state.is_draining
            self.cycle = self._held = HeldCallback(self, address, keep_alive=keep_alive)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.arrived += body

    def on_message_complete(self) -> None:
        """Take a callback that has arrived in one piece."""
        if self._held is None:
            super().on_message_complete()
            return
        held, self._held = self._held, None
        self._is_arriving = False
        held.take()

    def go_on(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let an application answer in the ordinary way."""
        self._start_asgi_task(cycle, app)

    def acknowledgement(self) -> bytes:
        """Give the head of the answer to a callback that is stored, as far as its last line."""
        headers = self.server_state.default_headers
        if headers is not self._acknowledged_with:
            # Made anew each second, as the date is.
            self._acknowledged_with = headers
            self._acknowledgement = _STORED + b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._acknowledgement

    def _address(self) -> Address | None:
        """Find the address of an ordinary callback whose head is there; None for all other requests."""
        if (
            self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.parser.should_upgrade()
            or self.expect_100_continue
            or self.root_path
            or self._is_busy
        ):
            return None
        # Where the path says something else once it is parsed and unquoted, no address is known by it.
        path = self.url.decode("latin-1")
        self.scope |= {"method": "POST", "path": path, "raw_path": self.url, "query_string": b""}
        return self.door.recognise(self.scope)  # type: ignore[arg-type]  # a scope of the server is one of Starlette's

    @property
    def _is_busy(self) -> bool:
        """Whether another request is being answered, or the server has as many as it takes."""
        if self.cycle is not None and not self.cycle.response_complete:
            return True
        limit = self.limit_concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)


class HeldCallback(RequestResponseCycle):
    """A callback that waits for its commit; what any other request needs is made when it is passed on.

    Attributes:
        arrived: The body, as far as it has arrived.
    """

    message_event = asyncio.Event()  # nobody waits for what happens while it is held

    def __init__(self, protocol: CallbackProtocol, address: Address, *, keep_alive: bool) -> None:
        self.scope = protocol.scope
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = False
        self.arrived = b""
        self._protocol = protocol
        self._address = address

    def take(self) -> None:
        """Hand it in: the body is there."""
        if not self._protocol.door.take_at_once(self._address, self.scope, self.arrived, self):  # type: ignore[arg-type]
            self.pass_on()

    def pass_on(self, *, more_body: bool = False) -> None:
        """Let it be taken in the ordinary way.

        Args:
            more_body: Whether the rest of the body is still to come.
        """
        self._let_answer(self._protocol.app, more_body=more_body)

    def stored(self) -> None:
        """Acknowledge it."""
        protocol = self._protocol
        protocol.door.count_stored(self._address, self.scope)  # type: ignore[arg-type]
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        if self.keep_alive:
            protocol.transport.write(protocol.acknowledgement() + b"\r\n")
        else:
            protocol.transport.write(protocol.acknowledgement() + b"connection: close\r\n\r\n")
            protocol.transport.close()
        protocol.on_response_complete()

    def not_stored(self, error: Unavailable) -> None:
        """Tell why it should be sent again."""
        self._let_answer(self._protocol.door.refusal(self._address, error), more_body=False)

    def _let_answer(self, app: Any, *, more_body: bool) -> None:
        protocol, disconnected = self._protocol, self.disconnected
        super().__init__(
            scope=self.scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self.keep_alive,
            on_response=protocol.on_response_complete,
        )
        self.disconnected = disconnected
        self.body += self.arrived
        self.more_body = more_body
        self.message_event.set()
        protocol.go_on(self, app)
