"""Several server processes that take connections from one socket, and the process that watches over them."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from types import FrameType

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.server.shutdown import DrainingServer

log = structlog.get_logger()

_LOOKS_EVERY_S = 0.2
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(config: uvicorn.Config, *, drain_s: float) -> None:
    """Serve in this process until a signal ends it."""
    server = DrainingServer(config, drain_s=drain_s)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def serve_with_workers(config: uvicorn.Config, *, drain_s: float) -> None:
    """Serve with the configured number of processes, until a signal ends them."""
    listener = config.bind_socket()
    spawn = multiprocessing.get_context("spawn")

    def start() -> BaseProcess:
        process = spawn.Process(target=_work, args=(config, listener, drain_s))
        process.start()
        return process

    workers = Workers(start, config.workers)
    code = workers.watch(on_stop=listener.close)
    if code:
        sys.exit(code)


def _work(config: uvicorn.Config, listener: socket.socket, drain_s: float) -> None:
    """Serve as one of several processes."""
    # uvicorn raises the signal once more when it has finished what was begun; that is a good end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config.configure_logging()
    server = DrainingServer(config, drain_s=drain_s, is_worker=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])
    if not server.started:
        sys.exit(STARTUP_FAILURE)


class Workers:
    """Keeps a number of processes running: one that ends is replaced, a signal ends all of them."""

    def __init__(self, start: Callable[[], BaseProcess], count: int) -> None:
        """Start none yet.

        Args:
            start: Starts a process.
        """
        self._start = start
        self._count = count
        self._processes: list[BaseProcess] = []
        self._signals = 0

    def watch(self, *, on_stop: Callable[[], None]) -> int:
        """Run the processes until a signal comes, or one of them cannot start; return an exit code.

        Args:
            on_stop: Called after SIGTERM has been sent to the processes.
        """
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            self._processes = [self._start() for _ in range(self._count)]
            code = 0
            while not self._signals and not code:
                time.sleep(_LOOKS_EVERY_S)
                code = self._replace_ended()
            self._send(signal.SIGTERM)
            on_stop()
            self._join()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return code

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            # A second signal: they end without draining.
            self._send(signal.SIGINT)

    def _replace_ended(self) -> int:
        """Start a process for each that has ended; return the exit code of one that could not start."""
        for place, process in enumerate(self._processes):
            if process.exitcode is None:
                continue
            if process.exitcode == STARTUP_FAILURE:
                return STARTUP_FAILURE
            if not self._signals:
                log.warning("server process ended, another one is started", pid=process.pid, code=process.exitcode)
                self._processes[place] = self._start()
        return 0

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.exitcode is None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def _join(self) -> None:
        for process in self._processes:
            process.join()
