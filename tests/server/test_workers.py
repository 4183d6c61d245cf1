"""The process that watches over several server processes."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

import pytest
from uvicorn.config import STARTUP_FAILURE

from app.server.workers import Workers
from tests.support.worker_processes import fail_to_start, go_on_after_signal, wait_for_signal

_spawn = multiprocessing.get_context("spawn")


class Started:
    """Starts processes, and keeps them."""

    def __init__(self, target: Callable[[Event], None]) -> None:
        self.processes: list[BaseProcess] = []
        self._ready: list[Event] = []
        self._target = target

    def __call__(self) -> BaseProcess:
        self._ready.append(_spawn.Event())
        process = _spawn.Process(target=self._target, args=(self._ready[-1],))
        process.start()
        self.processes.append(process)
        return process

    def wait_for(self, count: int) -> None:
        """Wait until so many have been started, and have set their handlers."""
        until = time.monotonic() + 60
        while len(self.processes) < count:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert all(is_ready.wait(60) for is_ready in self._ready)


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def signal_this_process(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_them_and_then_the_socket_is_let_go(number: signal.Signals) -> None:
    started = Started(wait_for_signal)
    closed = []

    def act() -> None:
        started.wait_for(2)
        signal_this_process(number)

    thread = meanwhile(act)
    before = signal.getsignal(number)
    code = Workers(started, 2).watch(on_stop=lambda: closed.append(True))
    thread.join()

    assert (code, closed, [process.exitcode for process in started.processes]) == (0, [True], [0, 0])
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_those_that_drain() -> None:
    started = Started(go_on_after_signal)

    def act() -> None:
        started.wait_for(1)
        signal_this_process(signal.SIGTERM)
        time.sleep(0.5)
        signal_this_process(signal.SIGTERM)

    thread = meanwhile(act)
    Workers(started, 1).watch(on_stop=lambda: None)
    thread.join()

    assert [process.exitcode for process in started.processes] == [0]


def test_one_that_is_killed_is_replaced() -> None:
    started = Started(wait_for_signal)

    def act() -> None:
        started.wait_for(2)
        started.processes[0].kill()
        started.wait_for(3)
        signal_this_process(signal.SIGTERM)

    thread = meanwhile(act)
    code = Workers(started, 2).watch(on_stop=lambda: None)
    thread.join()

    assert (code, len(started.processes)) == (0, 3)
    assert [process.exitcode for process in started.processes] == [-signal.SIGKILL, 0, 0]


def test_one_that_cannot_start_ends_all_of_them() -> None:
    started = Started(fail_to_start)

    code = Workers(started, 2).watch(on_stop=lambda: None)

    assert code == STARTUP_FAILURE
    assert len(started.processes) == 2
