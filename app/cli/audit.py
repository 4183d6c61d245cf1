"""`audit`: who did what."""

from typing import Annotated

import typer

from app.cli.client import call
from app.cli.options import Account, AsJson, Limit, Since, Until, Url, given
from app.cli.output import show_json, show_table

audit_commands = typer.Typer(help="Who did what.", no_args_is_help=True)

_COLUMNS = {
    "at": "At",
    "key": "Key",
    "action": "Action",
    "outcome": "Outcome",
    "device": "Device",
    "subject": "Subject",
}


@audit_commands.command("list")
def list_entries(
    key: Annotated[str | None, typer.Option(help="Done with this key: its id, bootstrap, or command-line")] = None,
    device: Annotated[str | None, typer.Option(help="Done to this device: IMEI, MEID, ESN, MDN or name")] = None,
    account: Account = None,
    action: Annotated[str | None, typer.Option(help="locate, periodic.start, reports.export, …")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, newest first; needs a key with the scope admin.

    Example: [bold]location-gateway audit list --device 990001123456782[/bold]
    """
    params = given(key=key, device=device, account=account, action=action, since=since, until=until, limit=limit)
    answer = call("GET", "/audit", url=url, params=params, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table(answer["entries"], _COLUMNS)
