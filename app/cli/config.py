"""`config check`: are the settings valid, complete, and safe?"""

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import pydantic
import typer
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.table import Table

from app.cli.requests import show_json
from app.observability.tracing import TracingSettings
from app.registry import PROVIDERS
from app.settings import Settings
from app.storage.urls import to_dsn

config_commands = typer.Typer(help="The settings.", no_args_is_help=True)

SETTINGS: tuple[type[BaseSettings], ...] = (
    Settings,
    TracingSettings,
    *(provider.Settings for provider in PROVIDERS),
)


def settings_problems(error: pydantic.ValidationError) -> list[str]:
    """Put the errors of a settings class into words, by environment variable and without values."""
    prefix = next((str(kind.model_config.get("env_prefix")) for kind in SETTINGS if kind.__name__ == error.title), "")
    lines = []
    for one in error.errors(include_input=False, include_url=False):
        name = prefix + "_".join(str(part) for part in one["loc"]).upper() if one["loc"] else prefix + "*"
        lines.append(f"{name}: {one['msg'].removeprefix('Value error, ')}")
    return lines


def database_problem(settings: Settings) -> str | None:
    """Tell what is wrong with the address of the database, without repeating it."""
    if settings.database_url is None:
        return None
    try:
        to_dsn(settings.database_url.get_secret_value())
    except ValueError as error:
        return f"GATEWAY_DATABASE_URL: {error}"
    return None


def advice(settings: Settings) -> Iterator[str]:
    """Tell what is valid and should be looked at all the same."""
    if settings.auth == "on" and settings.api_key is None:
        yield "GATEWAY_API_KEY is not set: every request that needs a key will get 401"
    if settings.encryption_key is None and settings.database_url is not None:
        yield (
            "GATEWAY_ENCRYPTION_KEY is not set: stored secrets are sealed with the providers' credentials, and a "
            "listener has to be registered again when these change"
        )
    if settings.public_url is None:
        yield "GATEWAY_PUBLIC_URL is not set: listeners can only be registered with an address named in the request"


@config_commands.command("check")
def check(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Check the settings of the environment and .env; exit with status 1 when they are not valid.

    Values of secrets are never printed.
    """
    found: list[dict[str, Any]] = []
    problems: list[str] = []
    notes: list[str] = []
    for kind in SETTINGS:
        try:
            settings = kind()
        except pydantic.ValidationError as error:
            problems.extend(settings_problems(error))
            continue
        found.extend(_values(settings))
        if isinstance(settings, Settings):
            notes.extend(advice(settings))
            problems.extend(filter(None, [database_problem(settings)]))
    if as_json:
        show_json({"valid": not problems, "settings": found, "problems": problems, "notes": notes})
    else:
        _show(found, problems, notes)
    if problems:
        sys.exit(1)


def _values(settings: BaseSettings) -> Iterator[dict[str, Any]]:
    prefix = str(settings.model_config.get("env_prefix"))
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        yield {
            "name": prefix + name.upper(),
            "value": None if value is None else str(value),
            "set": name in settings.model_fields_set,
            "description": field.description,
        }


def _show(found: list[dict[str, Any]], problems: list[str], notes: list[str]) -> None:
    console = Console()
    table = Table("Setting", "Value", "Meaning")
    for one in found:
        style = "bold" if one["set"] else "dim"
        table.add_row(f"[{style}]{one['name']}[/{style}]", one["value"] or "", one["description"])
    console.print(table)
    for problem in problems:
        console.print(f"[red]wrong:[/red] {problem}", highlight=False, soft_wrap=True)
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {note}", highlight=False, soft_wrap=True)
    if not problems:
        console.print("[green]The settings are valid.[/green]")
