"""`erase`: remove everything that is kept of a device."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.client import check, fail_with, gateway
from app.cli.options import AsJson, Url
from app.cli.output import print_line, show_json
from app.cli.progress import progress
from app.errors import Unavailable

_AS_LINES = {"Accept": "application/x-ndjson, application/json;q=0.5"}


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
    answer = _erase(name, {"force": "true"} if force else {}, url=url, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    for kind, count in answer["erased"].items():
        print_line(f"{count:>8} {kind}")


def _erase(name: str, params: dict[str, str], *, url: str | None, as_json: bool) -> dict[str, Any]:
    """Follow the steps of the gateway to the answer in its last line."""
    done = 0
    answer: dict[str, Any] | None = None
    with (
        gateway(url) as http,
        http.stream("DELETE", f"/devices/{quote(name, safe='')}", params=params, headers=_AS_LINES) as response,
        progress("Erasing", None, "steps") as advance,
    ):
        check(response, as_json=as_json)
        for line in response.iter_lines():
            answer = json.loads(line)
            if "progress" in answer:
                advance(answer["progress"]["done"] - done, answer["progress"]["total"])
                done = answer["progress"]["done"]
    if answer is None or "progress" in answer:
        raise Unavailable("The connection was lost before the end; erase again.")
    if "problem" in answer:
        fail_with(answer["problem"], as_json=as_json)
    return answer
