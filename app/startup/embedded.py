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
    """Run the embedded server while the block runs, and give its URL; the gateway's own processes join it.

    It is started here, before there are any, so that what goes wrong is said once and in order.

    Raises:
        EmbeddedPostgresFailed: It cannot be started.
    """
    server = EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin, on_step=on_step)
    with _signals_kept_waiting():
        url = server.start()
    try:
        yield url
    finally:
        server.stop()


@contextmanager
def _signals_kept_waiting() -> Iterator[None]:
    """End the process after the block if it was asked to end during it: a server half started would stay behind."""
    arrived: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        sys.exit(128 + arrived[0])
