"""The embedded Postgres of a gateway that is about to start."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from app.embedded_postgres import EmbeddedPostgres
from app.settings import Settings


@contextmanager
def embedded_database(settings: Settings, on_step: Callable[[str], None]) -> Iterator[str]:
    """Run the embedded server as long as the block; the gateway's own processes join it.

    It starts here, before those processes exist, so that a failure is reported once.

    Raises:
        EmbeddedPostgresFailed: It cannot be started.
    """
    server = EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin, on_step=on_step)
    with _signals_noted() as arrived:
        url = server.start()
    try:
        if arrived:
            sys.exit(0)
        # Until the server has handlers of its own, a signal must not leave Postgres behind either.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        yield url
    finally:
        server.stop()


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note the signals that ask the process to end, instead of ending it: a half-started server would stay behind."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
