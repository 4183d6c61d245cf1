"""`serve`: run the gateway."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import AsJson
from app.cli.output import print_line, show_json

if TYPE_CHECKING:
    from app.startup.preparation import Preparation
Lines = Iterator[tuple[str, str]]


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


def start_block(summary: dict[str, Any]) -> Lines:
    """Write a summary as headings and texts; a line that goes on with the one before has no heading."""
    host = "" if summary["host"] in summary["address"] else f", listening on {summary['host']}"
    yield "Address", summary["address"] + host
    yield "Docs", summary["docs"]
    yield "Map", summary["map"]
    if summary["publicUrl"]:
        yield "Public URL", summary["publicUrl"]
    yield "Database", _database(summary["database"])
    if summary["database"]["revision"]:
        yield "Schema", f"revision {summary['database']['revision']}"
    yield "Access", _ACCESS[summary["auth"]]
    if summary["workers"] > 1:
        yield "Processes", str(summary["workers"])
    yield from _list("Providers", map(_provider, summary["providers"]))
    if summary["listeners"] is not None:
        yield from _list("Listeners", map(_listener, summary["listeners"] or [None]))


_ACCESS = {
    "off": "no key needed (GATEWAY_AUTH=off)",
    "keys": "API keys of the database",
    "bootstrap": "GATEWAY_API_KEY, and API keys of the database",
}


def _list(heading: str, texts: Iterator[str]) -> Lines:
    for place, text in enumerate(texts):
        yield "" if place else heading, text


def _database(database: dict[str, Any]) -> str:
    if database["problem"]:
        return f"not usable yet: {database['problem']}"
    where = f"Postgres {database['version']} at {database['address']}"
    return f"embedded {where}, in {database['dataDir']}" if database["dataDir"] else f"{where}, {database['name']}"


def _provider(provider: dict[str, Any]) -> str:
    notes = f": {'; '.join(provider['notes'])}" if provider["notes"] else ""
    return f"{provider['name']} {provider['state'].replace('_', ' ')}{notes}"


def _listener(listener: dict[str, Any] | None) -> str:
    if listener is None:
        return "none; register one with: location-gateway listener register ACCOUNT"
    state = f"registered {listener['registeredAt']}" if listener["registeredAt"] else "not registered by this gateway"
    problem = f"; {listener['problem']}" if listener["problem"] else ""
    return f"{listener['account']} {listener['service']}, {state}{problem}"
