"""Run the gateway or the simulator under uvicorn."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

import uvicorn

from app.observability import logs
from app.observability.metrics import SHARED_FOLDER
from app.server import workers
from app.server.fast_callbacks import CallbackProtocol
from app.settings import Settings

_SHUTDOWN_S = 30
_KEEP_ALIVE_S = 75
_BACKLOG = 4096
_MOST_FILES = 65_536


def run_gateway(settings: Settings) -> None:
    """Serve the gateway until a signal ends it."""
    _allow_many_connections()
    with _shared_metrics(settings.workers):
        _run(settings)


def run_simulator(host: str, port: int) -> None:
    """Serve the simulator until a signal ends it."""
    uvicorn.run(
        "app.simulator:simulator_from_environment",
        factory=True,
        host=host,
        port=port,
        http="httptools",
        ws="none",
        access_log=False,
        server_header=False,
        log_level="warning",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=2,
    )


def _run(settings: Settings) -> None:
    # uvicorn raises the signal once more when it has finished what was begun; that is a good end, not a killed process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="auto",
        http=partial(CallbackProtocol, read_timeout_s=settings.read_timeout_seconds),  # type: ignore[arg-type]  # is called
        limit_concurrency=settings.max_connections or None,
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    if settings.workers > 1:
        logs.configure_logs(settings)
        workers.serve_with_workers(config, drain_s=settings.drain_seconds)
    else:
        workers.serve(config, drain_s=settings.drain_seconds)


@contextlib.contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Let the server's processes see each other's metrics, so that each can answer with those of all."""
    if workers <= 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="location-gateway-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[SHARED_FOLDER] = folder
        yield


def _allow_many_connections() -> None:
    """Raise the number of files that this process and its children may open, as far as the system lets them."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 -- there is none on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
