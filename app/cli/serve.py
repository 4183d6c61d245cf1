"""Commands that run something: the gateway, the migrations, the simulator."""

import asyncio
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from app.cli.config import database_problem
from app.cli.requests import AsJson, show_json
from app.embedded_postgres import EmbeddedPostgres
from app.errors import Unavailable
from app.server.run import run_gateway, run_simulator
from app.settings import Settings
from app.storage.migrate import current, downgrade, upgrade


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
    run_gateway(settings)


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
    run_simulator(host, port)
