"""An end to waiting: for requests to arrive, for answers to be taken, and for the next request.

uvicorn waits for ever for the first two. What comes and goes in one piece, as nearly everything does, costs no timer.
"""

import asyncio
from abc import abstractmethod
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_READ_TIMEOUT_S = 30.0
_WRITE_TIMEOUT_S = 30.0
_LINGER_S = 1.0
"""How long to read and drop what a client still sends after the last answer. Closing the connection at once would make
the system reset it, and the client might never see the answer."""


class TimedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with time-outs.

    Attributes:
        read_timer: Runs while a request, or the rest of one, is waited for.
        idle_since: Since when the connection waits for the next request; None while it does not.
    """

    # uvicorn and Starlette have types of their own for the same scopes and applications.
    app: Any
    scope: Any

    def __init__(
        self,
        *args: Any,
        read_timeout_s: float = _READ_TIMEOUT_S,
        write_timeout_s: float = _WRITE_TIMEOUT_S,
        **kwargs: Any,
    ) -> None:
        """Serve one connection.

        Args:
            read_timeout_s: How long a request may take to arrive.
            write_timeout_s: How long a client may take for what is buffered of an answer, about 64 KiB.
        """
        super().__init__(*args, **kwargs)
        self.read_timeout_s = read_timeout_s
        self._write_timeout_s = write_timeout_s
        self.read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.idle_since: float | None = None

    @abstractmethod
    def give_up(self) -> None:
        """Stop waiting for a request, or for the rest of one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.start_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self.stop_read_timer()
        self._stop_write_timer()
        super()._unset_keepalive_if_required()
        super().connection_lost(exc)

    def start_read_timer(self) -> None:
        """Begin to wait for the rest of a request, unless it is waited for already."""
        if self.read_timer is None:
            self.read_timer = self.loop.call_later(self.read_timeout_s, self._end_read_timer)

    def stop_read_timer(self) -> None:
        """Stop waiting for the rest of a request: it has arrived."""
        if self.read_timer is not None:
            self.read_timer.cancel()
            self.read_timer = None

    def _end_read_timer(self) -> None:
        self.read_timer = None
        self.give_up()

    def close_with(self, answer: bytes) -> None:
        """Send the last answer, and close the connection once the client has, or after a moment."""
        self.transport.write(answer)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.read_timer = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Make the application wait for the client; cut the client off if it takes too long."""
        super().pause_writing()
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(self._write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Let the application go on: the client has taken most of what was buffered."""
        self._stop_write_timer()
        super().resume_writing()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def start_idling(self) -> None:
        """Begin to wait for the next request."""
        self.idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_after(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        # The timer goes on from request to request: to cancel one and start another costs more than to look again.
        self.idle_since = None

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it has been idle for the whole time-out, else look again when it could be."""
        idle_s = 0.0 if self.idle_since is None else self.loop.time() - self.idle_since
        if idle_s >= self.timeout_keep_alive:
            self.timeout_keep_alive_task = None
            super().timeout_keep_alive_handler()
        else:
            self._look_again_after(self.timeout_keep_alive - idle_s)

    def _look_again_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
