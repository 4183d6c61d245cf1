"""Commands that run something: the gateway, the migrations, the simulator."""

import asyncio
import os
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from app.settings import Settings
from app.storage.embedded import EmbeddedPostgres
from app.storage.migrate import current, downgrade, upgrade

_SHUTDOWN_S = 30
_KEEP_ALIVE_S = 75
_BACKLOG = 4096


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
    settings = Settings()
    if settings.auth == "on" and settings.api_key is None:
        Console(stderr=True).print(
            "[yellow]GATEWAY_API_KEY is not set: every request that needs a key will get 401.[/yellow]"
        )
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="auto",
        http="httptools",
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


def migrate(
    to: Annotated[str, typer.Option(help="Revision to go to: head, a revision, or -1 to undo one")] = "head",
) -> None:
    """Bring the database to the present schema; safe to run from many processes at once.

    Example: [bold]GATEWAY_DATABASE_URL=postgresql://… location-gateway migrate[/bold]
    """
    revision = asyncio.run(_migrate(Settings(), to))
    Console().print(f"The database is at revision [bold]{revision or 'none'}[/bold].")


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
