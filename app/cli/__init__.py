"""The command line: `location-gateway`, same as `python -m app`.

Modules of commands import nothing but typer and each other at the top; what a command works with is imported when it
runs, so that `--help` and completion answer at once.
"""

from typing import Annotated

import typer

from app.cli import (
    audit,
    callbacks,
    config,
    demo,
    devices,
    erase,
    events,
    exits,
    keys,
    listener,
    locate,
    migrate,
    periodic,
    providers,
    reports,
    retention,
    serve,
    simulator,
    subscriptions,
)
from app.errors import GatewayError

app = typer.Typer(
    name="location-gateway",
    epilog=f"Start with: location-gateway demo\n\n{exits.HELP}",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("migrate")(migrate.migrate)
app.command("simulator")(simulator.simulator)
app.command("locate")(locate.locate)
app.command("erase")(erase.erase)
app.command("retention")(retention.retention)
app.command("events")(events.events)
app.add_typer(periodic.periodic_commands, name="periodic")
app.add_typer(reports.report_commands, name="reports")
app.add_typer(devices.device_commands, name="devices")
app.add_typer(listener.listener_commands, name="listener")
app.add_typer(subscriptions.subscription_commands, name="subscriptions")
app.add_typer(callbacks.callback_commands, name="callbacks")
app.add_typer(providers.provider_commands, name="providers")
app.add_typer(keys.key_commands, name="keys")
app.add_typer(audit.audit_commands, name="audit")
app.add_typer(config.config_commands, name="config")


def _show_version(asked: bool) -> None:  # noqa: FBT001 -- typer calls it by position
    if asked:
        from importlib.metadata import version

        typer.echo(f"location-gateway {version('location-gateway')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One location API in front of u-blox CloudLocate and Verizon ThingSpace."""


def main() -> None:
    """Run the command line; a failure is printed, and ends it with the exit status of its kind."""
    try:
        app()
    except GatewayError as error:
        exits.fail(error)
