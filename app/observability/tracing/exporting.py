"""The SDK and its exporter: imported when an endpoint is configured, one of each per process, nothing of it global."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from app.observability.tracing.recorder import Recorder
from app.observability.tracing.settings import TracingSettings, tell_the_sdk

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger()

_COMPLAIN_EVERY_S = 60.0


@asynccontextmanager
async def exporting(*, flush_s: float = 3.0) -> AsyncIterator[Recorder | None]:
    """Return a recorder whose spans are exported as the environment configures; None if it names no endpoint.

    A background thread sends them. Whatever becomes of that, those who record spans do not notice.

    Args:
        flush_s: How long the last spans may take at the end; what has not left by then is lost.
    """
    settings = TracingSettings()
    if not settings.is_on:
        yield None
        return
    tell_the_sdk()
    with _complaints_in_our_log():
        try:
            provider = _provider(settings)
        except Exception as error:  # noqa: BLE001 -- no traces are a smaller evil than no gateway
            log.error("traces cannot be exported", error=type(error).__name__)
            yield None
            return
        try:
            yield Recorder(provider)
        finally:
            await _shut_down(provider, flush_s)


def _provider(settings: TracingSettings) -> "TracerProvider":
    """Make what records and exports; the SDK itself reads the sampler, the limits, the headers and so on."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 -- see above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=_resource(settings), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _resource(settings: TracingSettings) -> "Resource":
    """Describe this service; the environment takes precedence."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    told = Resource.create()
    own = {"service.version": version("location-gateway"), "service.instance.id": str(uuid4())}
    if str(told.attributes["service.name"]).startswith("unknown_service"):
        own["service.name"] = settings.service_name
        told = Resource({name: value for name, value in told.attributes.items() if name != "service.name"})
    return Resource(own).merge(told)


async def _shut_down(provider: "TracerProvider", within_s: float) -> None:
    """Send what is left, for a bounded time: the SDK itself would wait for half a minute."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def shut_down() -> None:
        provider.shutdown()
        # The loop may be gone when the collector hung for longer than we waited.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    # No thread of the loop's pool: the end of the process would wait for it.
    threading.Thread(target=shut_down, name="last traces", daemon=True).start()
    try:
        async with asyncio.timeout(within_s):
            await done.wait()
    except TimeoutError:
        log.warning("the last traces were not sent in time")


@contextmanager
def _complaints_in_our_log() -> Iterator[None]:
    """Have the SDK's complaints in our own log, where their texts, which are those of libraries, do not belong."""
    logger = logging.getLogger("opentelemetry")
    handler = _Complaints()
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Complaints(logging.Handler):
    """Logs that the export fails, and where; at most once a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Complain, unless that was done a moment ago."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _COMPLAIN_EVERY_S
            log.warning("trouble with traces", where=f"{record.name}:{record.lineno}")
