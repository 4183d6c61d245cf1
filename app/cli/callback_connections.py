"""Connections that bring callbacks to their door themselves.

For nearly all callbacks the whole request is there after one read, and the answer is empty. A task, a scope's journey
through the application and an event per request would cost more than taking the callback in; so what is ordinary is
queued from within the parser, and answered when its batch is committed. Whatever is not goes the ordinary way.
"""

import asyncio
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.api.callback_door import CallbackDoor
from app.cli.connections import PatientProtocol


class CallbackProtocol(PatientProtocol):
    """HTTP/1.1 for an application that has a `callback_door`, and is not wrapped into anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door: CallbackDoor = cast("Any", self.app).callback_door
        self._held: RequestResponseCycle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; a callback of which more is to come is no longer held back."""
        super().data_received(data)
        if self._held is not None:
            held, self._held = self._held, None
            super()._start_asgi_task(held, self.app)

    def on_message_complete(self) -> None:
        """Take a callback that has arrived in one piece."""
        super().on_message_complete()
        if self._held is None:
            return
        held, self._held = self._held, None
        if not self._door.take_at_once(cast("Scope", held.scope), bytes(held.body), partial(self._wait, held)):
            super()._start_asgi_task(held, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Hold a callback back until its body is there."""
        is_whole = self._is_arriving and cycle is self.cycle and not cycle.waiting_for_100_continue
        if is_whole and app is self.app and self._door.opens(cast("Scope", self.scope)):
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def _wait(self, cycle: RequestResponseCycle, stored: "asyncio.Future[None] | None") -> None:
        if stored is None:
            super()._start_asgi_task(cycle, self.app)
        else:
            stored.add_done_callback(partial(self._answer, cycle))

    def _answer(self, cycle: RequestResponseCycle, stored: "asyncio.Future[None]") -> None:
        error = asyncio.CancelledError() if stored.cancelled() else stored.exception()
        if error is not None:
            refusal: ASGIApp = self._door.refusal(cast("Scope", cycle.scope), error)
            super()._start_asgi_task(cycle, cast("Any", refusal))
            return
        self._door.count_stored(cast("Scope", cycle.scope))
        if cycle.disconnected:
            return
        head = [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"]
        for name, value in cycle.default_headers:
            head += [name, b": ", value, b"\r\n"]
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        self.transport.write(b"".join(head))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
