"""`listener`: our callback listeners at ThingSpace."""

import sys
from typing import Annotated

import typer

from app.cli.client import call
from app.cli.options import AsJson, Url
from app.cli.output import print_line, show_json, show_table

listener_commands = typer.Typer(help="Our callback listeners at ThingSpace.", no_args_is_help=True)

Account = Annotated[str, typer.Argument(help="ThingSpace billing account")]
Service = Annotated[str, typer.Argument(help="DeviceLocation or Location")]

_COLUMNS = {
    "account": "Account",
    "service": "Service",
    "url": "Address",
    "secretKnown": "Secret",
    "registeredAt": "Registered",
    "problem": "Problem",
}


@listener_commands.command("list")
def list_listeners(url: Url = None, as_json: AsJson = False) -> None:
    """List the listeners; secrets are never shown.

    Example: [bold]location-gateway listener list[/bold]
    """
    answer = call("GET", "/listeners", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["listeners"], _COLUMNS)


@listener_commands.command("register")
def register_listener(
    account: Account,
    service: Service = "DeviceLocation",
    address: Annotated[str | None, typer.Option(help="Address to register; default: from GATEWAY_PUBLIC_URL")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register our listener at ThingSpace, or register it again.

    Example: [bold]location-gateway listener register 0844559123-00001[/bold]
    """
    body = {"url": address} if address else {}
    answer = call("PUT", f"/listeners/{account}/{service}", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table([answer], _COLUMNS)


@listener_commands.command("remove")
def remove_listener(
    account: Account, service: Service = "DeviceLocation", url: Url = None, as_json: AsJson = False
) -> None:
    """Remove our listener at ThingSpace; callbacks to its address are refused from then on.

    Example: [bold]location-gateway listener remove 0844559123-00001[/bold]
    """
    call("DELETE", f"/listeners/{account}/{service}", url=url, as_json=as_json)
    if as_json:
        show_json({"removed": True, "account": account, "service": service})
    else:
        print_line("Removed.")


@listener_commands.command("test")
def try_listener(
    account: Account, service: Service = "DeviceLocation", url: Url = None, as_json: AsJson = False
) -> None:
    """Send a signed synthetic callback through the public address; exit with status 1 when it does not arrive.

    Example: [bold]location-gateway listener test 0844559123-00001[/bold]
    """
    answer = call("POST", f"/listeners/{account}/{service}/test", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        colour = "green" if answer["arrived"] else "red"
        words = "arrived" if answer["arrived"] else "did not arrive"
        print_line(f"({answer['durationMs']} ms): {answer['detail']}", label=f"The callback {words}", style=colour)
    if not answer["arrived"]:
        sys.exit(1)
