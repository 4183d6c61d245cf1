"""The command line: `location-gateway`, same as `python -m app`."""

import sys

import pydantic
import typer
from rich.console import Console

from app.cli import config, demo, erase, keys, requests, serve
from app.errors import GatewayError

app = typer.Typer(
    name="location-gateway",
    help="One location API in front of u-blox CloudLocate and Verizon ThingSpace.",
    epilog="Start with: location-gateway demo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("migrate")(serve.migrate)
app.command("simulator")(serve.simulator)
app.command("locate")(requests.locate)
app.command("erase")(erase.erase)
app.add_typer(requests.listener_commands, name="listener")
app.add_typer(requests.callback_commands, name="callbacks")
app.add_typer(requests.provider_commands, name="providers")
app.add_typer(keys.key_commands, name="keys")
app.add_typer(config.config_commands, name="config")


def main() -> None:
    """Run the command line; failures are told in words, with exit status 1."""
    console = Console(stderr=True)
    try:
        app()
    except pydantic.ValidationError as error:
        console.print("[red]The settings are not valid:[/red]")
        for line in config.settings_problems(error):
            console.print(f"  {line}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except GatewayError as error:
        console.print(f"[red]{error.title}:[/red] {error.detail}", soft_wrap=True)
        sys.exit(1)
