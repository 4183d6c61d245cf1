"""What stands in for server processes; nothing else is imported here, so that they start at once."""

import os
import signal
import time
from multiprocessing.synchronize import Event

STARTUP_FAILURE = 3


def wait_for_signal(is_ready: Event) -> None:
    """Run until SIGTERM, as a worker does that has nothing to finish."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    is_ready.set()
    while True:
        time.sleep(0.01)


def go_on_after_signal(is_ready: Event) -> None:
    """Run on after SIGTERM, as a worker does that drains, until SIGINT."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    is_ready.set()
    while True:
        time.sleep(0.01)


def fail_to_start(_: Event) -> None:
    os._exit(STARTUP_FAILURE)
