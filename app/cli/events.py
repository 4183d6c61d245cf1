"""`events`: what happened, as a list, or as it happens."""

import json
import sys
import time
from typing import Annotated, Any

import typer

from app.cli.client import call
from app.cli.options import Account, AsJson, Limit, Url, given
from app.cli.output import print_error, print_line, show_json
from app.errors import NoGateway

After = Annotated[str | None, typer.Option(help="Begin behind this cursor, or at earliest or latest")]
Types = Annotated[str | None, typer.Option(help="Such as location.report.located,periodic.*")]
Transaction = Annotated[str | None, typer.Option(help="Of this transaction of ThingSpace")]
Session = Annotated[str | None, typer.Option(help="Of this periodic session")]
Imei = Annotated[str | None, typer.Option(help="Of the device with this IMEI")]
Mdn = Annotated[str | None, typer.Option(help="Of the device with this number")]

_WAIT_S = 30
_RETRY_S = 1.0


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C")] = False,
    after: After = None,
    types: Types = None,
    account: Account = None,
    imei: Imei = None,
    mdn: Mdn = None,
    transaction: Transaction = None,
    session: Session = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List events, the oldest first; or follow them as they happen, by default from now on.

    With --follow and --json, each event is a line of JSON. A gateway that goes away is waited for, and nothing missed.

    Example: [bold]location-gateway events --follow --types location.report.located[/bold]
    """
    params = given(
        after=after or ("latest" if follow else "earliest"),
        types=types,
        account=account,
        imei=imei,
        mdn=mdn,
        transactionId=transaction,
        sessionId=session,
        limit=limit,
    )
    if follow:
        _follow(params | {"limit": 1000, "wait": _WAIT_S}, url, as_json=as_json)
        return
    answer = call("GET", "/events", url=url, params=params, as_json=as_json)
    if as_json:
        show_json(answer)
        return
    for event in answer["events"]:
        print_line(to_line(event))
    print_error(f"Go on with: --after {answer['next']}", style="")


def _follow(params: dict[str, Any], url: str | None, *, as_json: bool) -> None:
    """Print events as they happen, until the user ends it."""
    is_away = False
    while True:
        try:
            answer = call("GET", "/events", url=url, params=params, as_json=as_json)
        except NoGateway as error:
            if not is_away:
                print_error(f"{error.detail} It is waited for.")
            is_away = True
            time.sleep(_RETRY_S)
            continue
        is_away = False
        for event in answer["events"]:
            if as_json:
                sys.stdout.write(json.dumps(event) + "\n")
            else:
                print_line(to_line(event))
        sys.stdout.flush()
        params["after"] = answer["next"]


def to_line(event: dict[str, Any]) -> str:
    """Sum an event up."""
    location, error = event["data"].get("location"), event["data"].get("error")
    said = ""
    if location:
        said = f"{location['latitude']:.6f}, {location['longitude']:.6f}"
    elif error:
        said = error["type"] or error["info"] or ""
    return f"{event['time']}  {event['type']:<24}  {event.get('subject', ''):<24}  {said}".rstrip()
