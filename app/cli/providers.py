"""`providers`: the state of the providers."""

from typing import Annotated

import typer

from app.cli.client import call
from app.cli.options import AsJson, Url
from app.cli.output import print_line, show_json, show_table

provider_commands = typer.Typer(help="State of the providers.", no_args_is_help=True)

_COLUMNS = {"name": "Provider", "state": "State", "lastError": "Last error", "notes": "Notes"}


@provider_commands.command("list")
def list_providers(url: Url = None, as_json: AsJson = False) -> None:
    """List the providers with their state.

    Example: [bold]location-gateway providers list[/bold]
    """
    answer = call("GET", "/providers", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["providers"], _COLUMNS)


@provider_commands.command("reset")
def reset_provider(
    name: Annotated[str, typer.Argument(help="Name of the provider")], url: Url = None, as_json: AsJson = False
) -> None:
    """Let a paused provider try again, after its settings have been corrected.

    Example: [bold]location-gateway providers reset thingspace[/bold]
    """
    answer = call("POST", f"/providers/{name}/reset", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        print_line(f"{answer['name']} is {answer['state']}.")
