"""`config`: the settings."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.output import print_line, show_json

if TYPE_CHECKING:
    from app.startup.configuration import Configuration

config_commands = typer.Typer(help="The settings.", no_args_is_help=True)

_INVALID = 3


@config_commands.command("check")
def check(
    everything: Annotated[bool, typer.Option("--all", help="Show settings that have their default, too")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings of the environment and of .env; exit with status 3 when something is wrong.

    Values of secrets are never printed.

    Example: [bold]location-gateway config check --all[/bold]
    """
    from app.startup.configuration import check_configuration

    found = check_configuration()
    if as_json:
        show_json(
            {
                "valid": not found.problems,
                "settings": found.settings,
                "problems": found.problems,
                "notes": found.notes + found.unused,
            }
        )
    else:
        _show(found, everything=everything)
    if found.problems:
        raise typer.Exit(_INVALID)


def _show(found: "Configuration", *, everything: bool) -> None:
    for one in found.settings:
        if one["set"] or everything:
            print_line(
                "" if one["value"] is None else one["value"], label=one["name"], style="bold" if one["set"] else "dim"
            )
        if everything:
            print_line(f"    {one['description']}")
    for problem in found.problems:
        print_line(problem, label="wrong:", style="red")
    for note in found.notes + found.unused:
        print_line(note, label="note:", style="yellow")
    if not found.problems:
        print_line("", label="The settings are valid.", style="green")
