"""`callbacks`: what providers sent, raw, and decoding it again."""

from typing import Annotated

import typer

from app.cli.client import call
from app.cli.options import AsJson, Limit, Url
from app.cli.output import say, show_json, show_table

callback_commands = typer.Typer(help="What providers sent us, raw.", no_args_is_help=True)


@callback_commands.command("list")
def list_callbacks(
    state: Annotated[str | None, typer.Option(help="stored or quarantined")] = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List callbacks, newest first.

    Example: [bold]location-gateway callbacks list --state quarantined[/bold]
    """
    params = {"limit": limit} | ({"state": state} if state else {})
    answer = call("GET", "/callbacks", url=url, params=params, as_json=as_json)
    columns = {"id": "Id", "receivedAt": "Received", "account": "Account", "state": "State", "reason": "Reason"}
    if as_json:
        show_json(answer)
    else:
        show_table(answer["callbacks"], columns)


@callback_commands.command("replay")
def replay_callbacks(
    callback: Annotated[str | None, typer.Argument(help="Id of one callback; without it, all in quarantine")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Decode callbacks again, after a fix; what is stored already is not stored twice.

    Example: [bold]location-gateway callbacks replay[/bold]
    """
    path = f"/callbacks/{callback}/replay" if callback else "/callbacks/replay"
    answer = call("POST", path, url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    elif callback:
        say(f"{answer['state']}, {answer['reports']} reports {answer['reason'] or ''}")
    else:
        say(f"{answer['stored']} stored, {answer['quarantined']} still in quarantine.")
