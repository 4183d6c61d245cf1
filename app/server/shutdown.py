"""The end of the server: first it says that it is not ready, then it takes no more connections, then it stops.

A load balancer that reuses a connection at the moment in which it is closed, or connects to a socket at the moment in
which it is closed, has sent a request that nobody answers, and must not repeat it where it may have been billed. So
nothing is closed that may be in use: for some seconds everything is served as before, and each connection ends with an
answer that says so; then new connections are held back, and only when the last of them has been taken the socket is
closed.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import time
from typing import Any, cast

import uvicorn
from uvicorn.supervisors import multiprocess

from app.server.protocol import GatewayProtocol, State
from app.settings import Settings

_LAST_TAKEN_S = 0.3
_QUIET_S = 1.0
_TICK_S = 0.1
_SO_ATTACH_FILTER = 26
# Classic BPF: load the byte of TCP's flags; is SYN among them? If so keep nothing of the packet, else all of it.
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def run(config: uvicorn.Config, *, drain_s: float) -> None:
    """Serve until a signal ends it."""
    if config.workers > 1:
        # The supervisor knows no other way to say which kind of worker it shall start.
        multiprocess.Process = Worker  # type: ignore[misc]
        Supervisor(config, [config.bind_socket()], drain_s=drain_s).run()
        return
    server = DrainingServer(config, drain_s=drain_s)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(1)


class DrainingServer(uvicorn.Server):
    """A server that SIGTERM does not end at once; a second one, or Ctrl-C, does."""

    def __init__(self, config: uvicorn.Config, *, drain_s: float, owns_socket: bool = True) -> None:
        """Make a server.

        Args:
            drain_s: How long it goes on serving.
            owns_socket: Whether no other process takes connections from the same socket.
        """
        super().__init__(config)
        self.server_state: State = State()
        self._drain_s = drain_s
        self._owns_socket = owns_socket

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop."""
        self.server_state.is_draining = True
        if self._drain_s and self._captured_signals and not self._is_urged:
            await self._drain()
        await super().shutdown(sockets)

    @property
    def _is_urged(self) -> bool:
        # A worker gets SIGTERM from its supervisor, and once more from those who stop all processes of a service.
        is_repeated = self._owns_socket and len(self._captured_signals) > 1
        return is_repeated or signal.SIGINT in self._captured_signals

    async def _drain(self) -> None:
        cast("Any", self.config.loaded_app).stop_being_ready()
        for connection in self.server_state.connections:
            if isinstance(connection, GatewayProtocol):
                connection.close_after_answer()
        await self._serve_for(self._drain_s)
        if self._owns_socket:
            for listener in (listener for server in self.servers for listener in server.sockets):
                hold_back_connections(listener.fileno())
        await self._serve_for(_LAST_TAKEN_S)

    async def _serve_for(self, seconds: float) -> None:
        """Serve for so long, or until nobody has been connected for a second: a refused connection harms nobody."""
        now = quiet_since = time.monotonic()
        until = now + seconds
        answered = self.server_state.total_requests
        ticks = 0
        while now < until and now - quiet_since < _QUIET_S and not self._is_urged:
            await self.on_tick(ticks)
            await asyncio.sleep(_TICK_S)
            ticks += 1
            now = time.monotonic()
            if self.server_state.connections or self.server_state.total_requests != answered:
                answered = self.server_state.total_requests
                quiet_since = now


class Worker(multiprocess.Process):
    """One of several processes that take connections from one socket."""

    @property
    def server(self) -> uvicorn.Server:
        """The server of this process."""
        if self._server is None:
            self._server = DrainingServer(self.config, drain_s=Settings().drain_seconds, owns_socket=False)
        return self._server


class Supervisor(multiprocess.Multiprocess):
    """Starts the workers, and ends them when it is told to end."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], *, drain_s: float) -> None:
        super().__init__(config, sockets)
        self._drain_s = drain_s

    def terminate_all(self) -> None:
        """Tell the workers to end, and close the socket just before they do, who are then the last to hold it."""
        super().terminate_all()
        until = time.monotonic() + self._drain_s
        while time.monotonic() < until and any(worker.process.is_alive() for worker in self.processes):
            time.sleep(_TICK_S)
        for listener in self.sockets:
            hold_back_connections(listener.fileno())
            listener.close()


def hold_back_connections(listener: int) -> None:
    """Begin no new connections on a listening socket, given by its descriptor; those half begun come to their end.

    Who connects meanwhile tries again in a second, as after the loss of a packet, and then finds the socket closed. To
    close it at once would break connections off that the system has made and the server has not taken yet. Where there
    is no such thing, as outside of Linux, nothing is done.
    """
    if sys.platform != "linux":
        return
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listener)) as held:
        held.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
