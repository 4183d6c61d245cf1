"""Logs: one JSON line per event, or readable text on a terminal; never a position, an identifier or a secret."""

import sys
from contextlib import suppress
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import Processor

from app.observability.floods import FloodLimit
from app.observability.tracing import add_trace_id
from app.settings import Settings


class _Unfailing:
    """Standard error, whose disk may be full or reader gone: then a line is lost, not the request it is about.

    A closed file raises `ValueError`.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, line: Any) -> None:
        """Write if that is possible."""
        with suppress(OSError, ValueError):
            self._file.write(line)

    def flush(self) -> None:
        """Flush if that is possible."""
        with suppress(OSError, ValueError):
            self._file.flush()


def configure_logs(settings: Settings) -> None:
    """Set structlog up for this process, readable on a terminal and JSON elsewhere."""
    as_json = settings.log_format == "json" or (settings.log_format is None and not sys.stderr.isatty())
    shared: list[Processor] = [
        FloodLimit(),
        structlog.contextvars.merge_contextvars,
        add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    logger_factory: Any
    processors: list[Processor]
    if as_json:
        processors = [*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(orjson.dumps)]
        logger_factory = structlog.BytesLoggerFactory(cast("BinaryIO", _Unfailing(sys.stderr.buffer)))
    else:
        processors = [*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        logger_factory = structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr)))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=logger_factory,
        cache_logger_on_first_use=False,
    )
