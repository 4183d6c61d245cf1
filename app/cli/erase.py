"""`erase`: remove everything that is kept of a device."""

from typing import Annotated
from urllib.parse import quote

import typer

from app.cli.client import call
from app.cli.options import AsJson, Url
from app.cli.output import say, show_json


def erase(
    device: Annotated[str, typer.Argument(help="IMEI, MEID, ESN, MDN, or your own name for the device")],
    force: Annotated[bool, typer.Option(help="Erase even if a session in which it reports cannot be stopped")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Erase everything that is kept of a device; there is no way back.

    Example: [bold]location-gateway erase 990001123456782[/bold]
    """
    from app.identifiers import readings

    if not yes:
        typer.confirm("Erase everything that is kept of this device, for good?", abort=True)
    known = readings(device)
    # A slash between digits would part the path.
    name = known.mdn or next(iter(known.ids), device)
    answer = call("DELETE", f"/devices/{quote(name, safe='')}", url=url, params={"force": "true"} if force else None)
    if as_json:
        show_json(answer)
        return
    for kind, count in answer["erased"].items():
        say(f"{count:>8} {kind}")
