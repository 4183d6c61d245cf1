"""Connections that bring callbacks to their door themselves.

For nearly all callbacks the whole request is there after one read, and the answer is empty. A task, a scope's journey
through the application and an event per request would cost more than taking the callback in; so what is ordinary is
queued from within the parser, and answered when its batch is committed. Whatever is not goes the ordinary way.
"""

from typing import Any

from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.callback_door import CallbackDoor
from app.cli.connections import PatientProtocol
from app.errors import Unavailable
from app.listening import Address

_STORED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"


class CallbackProtocol(PatientProtocol):
    """HTTP/1.1 for an application that has a `callback_door`, and is not wrapped into anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        application: Any = self.app
        self.door: CallbackDoor = application.callback_door
        self._held: HeldCallback | None = None

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a callback of which more is to come is no longer held back."""
        super().data_received(data)
        if self._held is not None:
            held, self._held = self._held, None
            held.pass_on()

    def on_message_complete(self) -> None:
        """Take a callback that has arrived in one piece."""
        super().on_message_complete()
        if self._held is not None:
            held, self._held = self._held, None
            held.take()

    def go_on(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Let an application answer in the ordinary way."""
        super()._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Hold a callback back until its body is there."""
        if self._is_arriving and cycle is self.cycle and app is self.app and not cycle.waiting_for_100_continue:
            scope: Any = cycle.scope
            address = self.door.recognise(scope)
            if address is not None:
                self._held = HeldCallback(self, cycle, scope, address)
                return
        self.go_on(cycle, app)


class HeldCallback:
    """A callback that waits for its commit, and the connection that it came over."""

    __slots__ = ("_address", "_cycle", "_protocol", "_scope")

    def __init__(self, protocol: CallbackProtocol, cycle: RequestResponseCycle, scope: Scope, address: Address) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._scope = scope
        self._address = address

    def take(self) -> None:
        """Hand it in: the body is there."""
        if not self._protocol.door.take_at_once(self._address, self._scope, bytes(self._cycle.body), self):
            self.pass_on()

    def pass_on(self) -> None:
        """Let it be taken in the ordinary way."""
        self._protocol.go_on(self._cycle, self._protocol.app)

    def stored(self) -> None:
        """Acknowledge it."""
        protocol, cycle = self._protocol, self._cycle
        protocol.door.count_stored(self._address, self._scope)
        if cycle.disconnected:
            return
        lines = [_STORED]
        for name, value in cycle.default_headers:
            lines += [name, b": ", value, b"\r\n"]
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        protocol.transport.write(b"".join(lines))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def not_stored(self, error: Unavailable) -> None:
        """Tell why it should be sent again."""
        refusal: ASGIApp = self._protocol.door.refusal(self._address, error)
        self._protocol.go_on(self._cycle, refusal)
