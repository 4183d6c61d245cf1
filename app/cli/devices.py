"""`devices`: which are known and how they stand, and where one has been."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from app.cli.client import call, check, gateway
from app.cli.exported import copy_whole, part_of
from app.cli.options import Account, AsJson, Limit, Since, Until, Url, given
from app.cli.output import print_error, show_json, show_table

device_commands = typer.Typer(help="Which devices are known, and where they have been.", no_args_is_help=True)

_COLUMNS = {
    "id": "Device",
    "device.mdn": "MDN",
    "device.name": "Name",
    "state": "State",
    "missing": "Missing",
    "at": "Seen",
}
_MEDIA_TYPES = {
    "json": "application/json",
    "geojson": "application/geo+json",
    "gpx": "application/gpx+xml",
    "kml": "application/vnd.google-earth.kml+xml",
}


@device_commands.command("list")
def list_devices(
    search: Annotated[
        str | None, typer.Argument(metavar="[PART]", help="A part of an IMEI, MEID, ESN, MDN or name")
    ] = None,
    state: Annotated[str | None, typer.Option(help="reporting, silent or idle")] = None,
    account: Account = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List devices with their state and when they were seen last.

    Example: [bold]location-gateway devices list 456782[/bold]

    Example: [bold]location-gateway devices list --state silent[/bold]
    """
    params = given(q=search, state=state, account=account, limit=limit)
    answer = call("GET", "/devices", url=url, params=params, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table([_row(device) for device in answer["devices"]], _COLUMNS)


def _row(device: dict[str, Any]) -> dict[str, Any]:
    latest = device["latestReport"]
    return {
        **device,
        "missing": sum(session["missing"] for session in device["sessions"]) or None,
        "at": latest and latest["receivedAt"],
    }


@device_commands.command("track")
def track(
    device: Annotated[str, typer.Argument(help="IMEI, MEID, ESN, MDN, or your own name for it")],
    format_: Annotated[Literal["gpx", "kml", "geojson", "json"], typer.Option("--format", help="Of the file")] = "gpx",
    output: Annotated[Path | None, typer.Option(help="File to write; default: standard output")] = None,
    since: Since = None,
    until: Until = None,
    url: Url = None,
) -> None:
    """Write where a device has been; GPX and KML hold everything, JSON and GeoJSON the first 1,000 fixes.

    Example: [bold]location-gateway devices track 990001123456782 --output pump.gpx[/bold]
    """
    path, params = f"/devices/{quote(device, safe='')}/track", given(since=since, until=until)
    if format_ in ("json", "geojson"):
        params["limit"] = 1000
    headers = {"Accept": _MEDIA_TYPES[format_]}
    with gateway(url) as http, http.stream("GET", path, params=params, headers=headers) as response:
        check(response, as_json=False)
        if output is None:
            copy_whole(response.iter_bytes(), sys.stdout.buffer)
            return
        part = part_of(output)
        with part.open("wb") as file:
            copy_whole(response.iter_bytes(), file)
    part.replace(output)
    print_error(f"The track is in {output}.", style="")
