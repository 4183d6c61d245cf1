"""`locate`: where is a device?"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.client import call
from app.cli.options import Account, AsJson, Url
from app.cli.output import print_line, show_json


def locate(
    imei: Annotated[str | None, typer.Option(help="IMEI of the device")] = None,
    mdn: Annotated[str | None, typer.Option(help="Its ten-digit number")] = None,
    account: Account = None,
    measurements: Annotated[
        Path | None, typer.Option(help="File with the `measurements` of a request, - for standard input")
    ] = None,
    max_age: Annotated[int | None, typer.Option(help="How old a fix may be, seconds; 0: a current one")] = None,
    provider: Annotated[str, typer.Option(help="auto, cloudlocate or thingspace")] = "auto",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Locate a device.

    Example: [bold]location-gateway locate --imei 990001123456782 --mdn 5085550101[/bold]
    """
    device = {name: value for name, value in (("imei", imei), ("mdn", mdn), ("account", account)) if value}
    body: dict[str, Any] = {"provider": provider}
    if device:
        body["device"] = device
    if measurements is not None:
        body["measurements"] = _read_json(measurements)
    if max_age is not None:
        body["maxAge"] = max_age
    answer = call("POST", "/locate", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        _show(answer)


def _show(answer: dict[str, Any]) -> None:
    place = answer["location"]
    accuracy = "unknown accuracy" if place["accuracy"] is None else f"within {place['accuracy']:g} m"
    position = f"{place['latitude']:.6f}, {place['longitude']:.6f}"
    print_line(f"({accuracy}), {place['timestamp']}", label=position, style="bold")
    print_line(f"by {place['provider']} from {place['source']}{', cached' if place['cached'] else ''}")
    for hint in answer["hints"]:
        print_line("", label=hint, style="dim")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot be read as JSON: {error}") from error
