"""`serve`: run the gateway."""

import asyncio
import os
from typing import Annotated

import typer

from app.cli.output import complain


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [GATEWAY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on [GATEWAY_PORT]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Server processes [GATEWAY_WORKERS]")] = None,
) -> None:
    """Run the gateway.

    Without GATEWAY_DATABASE_URL it runs on an embedded Postgres of its own, migrated at the start.

    Example: [bold]GATEWAY_API_KEY=secret location-gateway serve --port 8080[/bold]
    """
    from app.server.run import run_gateway
    from app.startup.address import check_address
    from app.startup.database import check_database
    from app.startup.settings import load_settings

    # The server's processes read the environment again, so the options have to stand there.
    for name, value in (("HOST", host), ("PORT", port), ("WORKERS", workers)):
        if value is not None:
            os.environ[f"GATEWAY_{name}"] = str(value)
    settings = load_settings()
    if settings.auth == "on" and settings.api_key is None:
        complain(
            "GATEWAY_API_KEY is not set: only keys made with `location-gateway keys create` open this gateway.",
            style="yellow",
        )
    check_address(settings.host, settings.port)
    if settings.database_url is not None:
        asyncio.run(check_database(settings.database_url.get_secret_value()))
    run_gateway(settings)
