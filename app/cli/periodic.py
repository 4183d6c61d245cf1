"""`periodic`: sessions of periodic location."""

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.client import call, pages
from app.cli.options import Account, AsJson, Limit, Url, given
from app.cli.output import print_error, print_line, show_json, show_members, show_table

periodic_commands = typer.Typer(help="Sessions of periodic location.", no_args_is_help=True)

Session = Annotated[str, typer.Argument(help="Id of the session, or ThingSpace's transaction id")]

_COLUMNS = {
    "id": "Id",
    "state": "State",
    "devices.total": "Devices",
    "reports.received": "Received",
    "reports.expected": "Expected",
    "reports.missing": "Missing",
}
_MEMBERS = {
    "id": "Id",
    "transactionId": "Transaction",
    "state": "State",
    "account": "Account",
    "devices.total": "Devices",
    "interval": "Interval",
    "count": "Count",
    "unlimited": "Unlimited",
    "reports.expected": "Expected",
    "reports.due": "Due",
    "reports.received": "Received",
    "reports.failed": "Failed",
    "reports.missing": "Missing",
    "createdAt": "Created",
    "endsAt": "Ends",
    "endedAt": "Ended",
    "problem.detail": "Problem",
}
_DEVICE_COLUMNS = {
    "device.imei": "IMEI",
    "device.mdn": "MDN",
    "state": "State",
    "received": "Received",
    "failed": "Failed",
    "missing": "Missing",
    "lastError.type": "Last error",
}


@periodic_commands.command("start")
def start(
    interval: Annotated[int, typer.Option(min=1, help="Seconds between two fixes of a device")],
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="DEVICE...", help="IMEI, or IMEI:MDN, of each device")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--devices", help="File with a line IMEI,MDN for each device; - is standard input")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, max=1000, help="Fixes of each device")] = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Until it is stopped")] = False,
    start_delay: Annotated[int | None, typer.Option(min=0, help="Seconds until the first fix")] = None,
    max_age: Annotated[int | None, typer.Option(min=0, help="How old a fix may be, seconds")] = None,
    account: Account = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="With the same key it is started once, however often asked")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start a session, and print it.

    Example: [bold]location-gateway periodic start 990001123456782:5085550101 --interval 300 --count 6[/bold]

    Example: [bold]location-gateway periodic start --devices fleet.csv --interval 3600 --unlimited[/bold]
    """
    body = given(
        devices=[*map(_device_of, devices or ()), *(_read_devices(file) if file else ())],
        interval=interval,
        count=count,
        unlimited=unlimited or None,
        startDelay=start_delay,
        maxAge=max_age,
        account=account,
    )
    headers = {"Idempotency-Key": key} if key else None
    _show(call("POST", "/periodic", url=url, body=body, headers=headers, as_json=as_json), as_json=as_json)


@periodic_commands.command("list")
def list_sessions(
    state: Annotated[
        str | None, typer.Option(help="requested, active, completed, stopping, stopped, failed or unknown")
    ] = None,
    account: Account = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first.

    Example: [bold]location-gateway periodic list --state active[/bold]
    """
    params = given(state=state, account=account, limit=limit)
    answer = call("GET", "/periodic", url=url, params=params, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["sessions"], _COLUMNS)


@periodic_commands.command("show")
def show(
    session: Session,
    devices: Annotated[bool, typer.Option("--devices", help="Show each device as well")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a session, with what came, what failed and what is missing.

    Example: [bold]location-gateway periodic show 01JNB4C0M8V4C0M8T5Y6Z7A8B9 --devices[/bold]
    """
    path = f"/periodic/{quote(session, safe='')}"
    answer = call("GET", path, url=url, as_json=as_json)
    each = list(pages(f"{path}/devices", "devices", url=url, as_json=as_json)) if devices else []
    if as_json:
        show_json(answer | ({"eachDevice": each} if devices else {}))
        return
    _show(answer, as_json=False)
    if devices:
        show_table(each, _DEVICE_COLUMNS)


@periodic_commands.command("stop")
def stop(
    session: Session,
    mdn: Annotated[list[str] | None, typer.Option(help="Stop only the device with this number; repeat it")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Stop a session, or some of its devices; exit with status 1 when a device could not be stopped.

    Example: [bold]location-gateway periodic stop 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    params = {"mdn": mdn} if mdn else None
    answer = call("DELETE", f"/periodic/{quote(session, safe='')}", url=url, params=params, as_json=as_json)
    stopped = answer["stop"]
    if as_json:
        show_json(answer)
    else:
        state = f"The session is {answer['state']}"
        print_line(
            f"{state}: {stopped['accepted']} of {stopped['requested']} devices that were asked to stop accepted it."
        )
        for one in stopped["failed"]:
            print_error(one["problem"]["detail"], label=f"{one['mdn'] or one['imei']}:")
    if stopped["failed"]:
        sys.exit(1)


def _show(session: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(session)
    else:
        show_members(session, _MEMBERS)


def _device_of(text: str) -> dict[str, Any]:
    imei, _, mdn = text.partition(":")
    return given(imei=imei.strip(), mdn=mdn.strip() or None)


def _read_devices(path: Path) -> Iterator[dict[str, Any]]:
    """Read devices from a file: the first column is the IMEI, the second, if there is one, the MDN."""
    try:
        lines = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint="--devices") from error
    yield from _to_devices(csv.reader(lines.splitlines()))


def _to_devices(rows: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        cells = [cell.strip() for cell in row]
        is_heading = bool(cells) and cells[0].lower() == "imei"
        if any(cells) and not is_heading and not cells[0].startswith("#"):
            yield given(imei=cells[0], mdn=(cells[1] or None) if len(cells) > 1 else None)
