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
    confidence: Annotated[int | None, typer.Option(help="Give the accuracy at this level, 50 to 99 percent")] = None,
    max_accuracy: Annotated[float | None, typer.Option(help="Look further while the circle is wider, metres")] = None,
    best: Annotated[bool, typer.Option("--best", help="Ask all providers at the same time; each is billed")] = False,
    last_known: Annotated[
        bool, typer.Option("--last-known", help="Show the newest stored position if it cannot be located now")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Only say what would be asked; costs nothing")] = False,
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
    wanted = {"maxAge": max_age, "confidence": confidence, "maxAccuracy": max_accuracy}
    body |= {name: value for name, value in wanted.items() if value is not None}
    body |= ({"strategy": "best"} if best else {}) | ({"onFailure": "last_known"} if last_known else {})
    answer = call("POST", "/locate/explain" if explain else "/locate", url=url, body=body, as_json=as_json)
    if as_json:
        show_json(answer)
    elif explain:
        _show_explanation(answer)
    else:
        _show(answer)


def _show_explanation(answer: dict[str, Any]) -> None:
    for one in answer["candidates"]:
        reason = f" ({one['reason']})" if one["reason"] else ""
        print_line(f"{one['verdict'].replace('_', ' ')}{reason}", label=one["provider"], style="bold")
    if answer["ladder"]:
        steps = " → ".join(f"{step['provider']} {step['step'].replace('_', ' ')}" for step in answer["ladder"])
        print_line(f"in this order: {steps}")
    if answer["stored"] is not None:
        print_line(f"a stored position is {answer['stored']['age']:g} seconds old")
    if answer["budget"] is not None:
        print_line(f"{answer['budget']['left']} of {answer['budget']['dailyFixes']} billed fixes are left today")
    for hint in answer["hints"]:
        print_line("", label=hint, style="dim")
    if "problem" in answer:
        print_line(answer["problem"]["detail"], label=answer["problem"]["code"], style="bold")


def _show(answer: dict[str, Any]) -> None:
    place = answer["location"]
    accuracy = "unknown accuracy" if place["accuracy"] is None else f"within {place['accuracy']:g} m"
    if place["confidence"] is not None:
        accuracy += f" at {place['confidence']} %"
    position = f"{place['latitude']:.6f}, {place['longitude']:.6f}"
    print_line(f"({accuracy}), {place['timestamp']}", label=position, style="bold")
    print_line(f"by {place['provider']} from {place['source']}{', cached' if place['cached'] else ''}")
    if place.get("stale"):
        print_line(f"last known, {place['age']:g} seconds ago: {answer['problem']['detail']}")
    for hint in answer["hints"]:
        print_line("", label=hint, style="dim")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(sys.stdin.read() if str(path) == "-" else path.read_text())
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot be read as JSON: {error}") from error
