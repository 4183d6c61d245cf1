"""`serve`: run the gateway."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.output import print_line, show_json
from app.cli.start_block import start_block

if TYPE_CHECKING:
    from app.startup.preparation import Preparation


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [GATEWAY_HOST]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on [GATEWAY_PORT]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Server processes [GATEWAY_WORKERS]")] = None,
    without_database: Annotated[
        bool,
        typer.Option(
            "--without-database",
            help="Start even if the database cannot be used yet; what needs it is answered with 503 meanwhile",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the gateway.

    Without GATEWAY_DATABASE_URL it runs on an embedded Postgres of its own, migrated at the start. Standard output says
    where it listens and what it works with; the log goes to standard error.

    Example: [bold]GATEWAY_API_KEY=secret location-gateway serve --port 8080[/bold]
    """
    from app.server.run import run_gateway
    from app.startup.preparation import prepared

    options = {"GATEWAY_HOST": host, "GATEWAY_PORT": port, "GATEWAY_WORKERS": workers}
    with prepared(
        options,
        needs_database=not without_database,
        on_step=lambda step: None if as_json else print_line(f"{step} …"),
    ) as preparation:
        _show(preparation, as_json=as_json)
        run_gateway(preparation.settings)


def _show(preparation: "Preparation", *, as_json: bool) -> None:
    configuration = preparation.configuration
    if as_json:
        said = {"warnings": configuration.mistakes, "notes": configuration.notes}
        show_json(preparation.summary | said)
        return
    lines = list(start_block(preparation.summary))
    width = max(len(heading) for heading, _ in lines)
    print_line("", label=f"Location gateway {preparation.summary['version']}", style="bold")
    for heading, text in lines:
        print_line(text, label=f"  {heading:<{width}}", style="dim")
    for warning in configuration.mistakes:
        print_line(warning, label="warning:", style="yellow")
    for note in configuration.notes:
        print_line(note, label="note:", style="dim")
