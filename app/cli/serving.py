"""Commands that run something: the gateway, the migrations, the simulator."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Annotated

import typer
import uvicorn
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from app.cli import draining
from app.cli.asking import AsJson, show_json
from app.cli.checking import database_problem
from app.errors import Unavailable
from app.settings import Settings
from app.storage.embedded import EmbeddedPostgres
from app.storage.migrate import current, downgrade, upgrade
from app.telemetry import SHARED_FOLDER

_SHUTDOWN_S = 30
_KEEP_ALIVE_S = 75
_BACKLOG = 4096
_MOST_FILES = 65_536


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [GATEWAY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [GATEWAY_PORT]")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes [GATEWAY_WORKERS]")] = None,
) -> None:
    """Run the gateway.

    Without GATEWAY_DATABASE_URL it runs on an embedded Postgres of its own, migrated at the start.

    Example: [bold]GATEWAY_API_KEY=secret location-gateway serve --port 8080[/bold]
    """
    # The server's processes read the environment again, so the options have to stand there.
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[f"GATEWAY_{name}"] = str(value)
    settings = _settings()
    if settings.auth == "on" and settings.api_key is None:
        Console(stderr=True).print(
            "[yellow]GATEWAY_API_KEY is not set: only keys made with `location-gateway keys create` open this gateway."
            "[/yellow]"
        )
    _allow_many_connections()
    with _shared_metrics(settings.workers):
        _run(settings)


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
        http="app.cli.callback_connections:CallbackProtocol",
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
    draining.run(config, drain_s=settings.drain_seconds)


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


def migrate(
    to: Annotated[str, typer.Option(help="Revision to go to: head, a revision, or -1 to undo one")] = "head",
    as_json: AsJson = False,
) -> None:
    """Bring the database to the present schema; safe to run from many processes at once.

    Example: [bold]GATEWAY_DATABASE_URL=postgresql://… location-gateway migrate[/bold]
    """
    try:
        revision = asyncio.run(_migrate(_settings(), to))
    except (OSError, SQLAlchemyError) as error:
        # The texts of the driver may hold the address and the password.
        cause = getattr(getattr(error, "orig", None), "__cause__", None) or error
        raise Unavailable(f"The database of GATEWAY_DATABASE_URL: {type(cause).__name__}.") from None
    if as_json:
        show_json({"revision": revision})
    else:
        Console().print(f"The database is at revision [bold]{revision or 'none'}[/bold].")


def _settings() -> Settings:
    settings = Settings()
    problem = database_problem(settings)
    if problem is not None:
        Console(stderr=True).print(
            f"[red]The settings are not valid:[/red]\n  {problem}", highlight=False, soft_wrap=True
        )
        sys.exit(1)
    return settings


async def _migrate(settings: Settings, to: str) -> str | None:
    if settings.database_url is not None:
        return await _go(settings.database_url.get_secret_value(), to)
    async with EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin) as server:
        return await _go(server.url, to)


async def _go(url: str, to: str) -> str | None:
    if to.startswith("-") or to == "base":
        await downgrade(url, to)
    else:
        await upgrade(url, to)
    return await current(url)


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 9090,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world")] = 1,
    speed: Annotated[float, typer.Option(help="How many times faster than real its time runs")] = 1.0,
) -> None:
    """Run stand-ins for CloudLocate and ThingSpace, callbacks included; its page lists the faults it can play.

    Example: [bold]location-gateway simulator --port 9090[/bold], then open http://127.0.0.1:9090/
    """
    os.environ["SIMULATOR_SEED"] = str(seed)
    os.environ["SIMULATOR_SPEED"] = str(speed)
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
