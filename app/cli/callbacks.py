"""`callbacks`: what providers sent, raw, and decoding it again."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.client import call
from app.cli.options import Account, AsJson, Limit, Since, Until, Url, given
from app.cli.output import print_error, print_line, show_json, show_table
from app.cli.progress import progress

_PAGE = 500

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
    callback: Annotated[str | None, typer.Argument(help="Id of one callback; without it, all that match")] = None,
    state: Annotated[str, typer.Option(help="stored or quarantined")] = "quarantined",
    account: Account = None,
    since: Since = None,
    until: Until = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where a replay was interrupted")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Decode callbacks again, after a fix; what is stored already is not stored twice.

    Example: [bold]location-gateway callbacks replay[/bold]
    """
    if callback:
        answer = call("POST", f"/callbacks/{quote(callback, safe='')}/replay", url=url, as_json=as_json)
    else:
        filters = given(state=state, account=account, since=since, until=until)
        answer = _replay_all(filters, cursor, url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    elif callback:
        print_line(f"{answer['state']}, {answer['reports']} reports {answer['reason'] or ''}")
    else:
        print_line(f"{answer['stored']} stored, {answer['quarantined']} still in quarantine.")


def _replay_all(filters: dict[str, Any], cursor: str | None, *, url: str | None, as_json: bool) -> dict[str, int]:
    """Replay page by page; print how to continue when it is interrupted."""
    done = {"stored": 0, "quarantined": 0}
    try:
        first = _replay_page(filters, cursor, url=url, as_json=as_json)
        with progress("Replaying", first.get("total"), "callbacks") as advance:
            page: dict[str, Any] | None = first
            while page is not None:
                advance(page["stored"] + page["quarantined"])
                done = {name: count + page[name] for name, count in done.items()}
                cursor = page["next"]
                page = _replay_page(filters, cursor, url=url, as_json=as_json) if cursor else None
    except BaseException:
        if cursor:
            print_error(f"location-gateway callbacks replay --cursor {cursor}", label="To go on:", style="yellow")
        raise
    return done


def _replay_page(filters: dict[str, Any], cursor: str | None, *, url: str | None, as_json: bool) -> dict[str, Any]:
    params = filters | given(cursor=cursor, limit=_PAGE)
    answer: dict[str, Any] = call("POST", "/callbacks/replay", url=url, params=params, as_json=as_json)
    return answer
