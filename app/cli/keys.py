"""`keys`: API keys, through a running gateway where one can be asked, else in its database.

The first key has to come from somewhere: without GATEWAY_API_KEY there is none to ask the gateway with. Who can read
the settings can reach the database anyway, so it needs no key; running gateways learn of the change at once.
"""

import sys
from typing import Annotated, Any

import typer

from app.cli.client import call
from app.cli.options import AsJson, Url
from app.cli.output import print_error, print_line, show_json, show_table
from app.errors import NoGateway
from app.scopes import SCOPES

key_commands = typer.Typer(help="API keys of this gateway.", no_args_is_help=True)

_COLUMNS = {"id": "Id", "name": "Name", "prefix": "Begins", "state": "State", "scopes": "Scopes", "limits": "Limits"}
_LIMITS = {
    "accounts": "accounts {}",
    "devices": "devices {}",
    "requestsPerMinute": "{} requests/min",
    "dailyFixes": "{} fixes/day",
    "expiresAt": "until {}",
}
_PAGE = 1000


def _check_scopes(scopes: list[str]) -> list[str]:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise typer.BadParameter(f"there is no scope {unknown[0]!r}; there are: {', '.join(sorted(SCOPES))}")
    return scopes


def _complete_scope(incomplete: str) -> list[str]:
    return sorted(scope for scope in SCOPES if scope.startswith(incomplete))


Id = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it")]
Scopes = Annotated[
    list[str],
    typer.Option(
        "--scope",
        help=f"What it may be used for; repeat it: {', '.join(sorted(SCOPES))}",
        callback=_check_scopes,
        autocompletion=_complete_scope,
    ),
]


@key_commands.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for")],
    scope: Scopes,
    account: Annotated[list[str] | None, typer.Option(help="Only this account; repeat it")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this IMEI, MDN or name, or a pattern such as 99000112*; repeat it")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Requests per minute")] = None,
    daily_fixes: Annotated[int | None, typer.Option(help="Fixes that may be billed on a day (UTC)")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends: 2030-01-01T00:00:00Z")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    Example: [bold]location-gateway keys create "fleet map" --scope locate --daily-fixes 1000[/bold]
    """
    given = {
        "name": name,
        "scopes": scope,
        "accounts": account,
        "devices": device,
        "requestsPerMinute": rate,
        "dailyFixes": daily_fixes,
        "expiresAt": expires,
    }
    body = {member: value for member, value in given.items() if value not in (None, [])}

    _show_new(_ask("POST", "/keys", url=url, body=body, as_json=as_json), as_json)


@key_commands.command("list")
def list_keys(url: Url = None, as_json: AsJson = False) -> None:
    """List the keys, revoked and expired ones included; the keys themselves are shown nowhere.

    Example: [bold]location-gateway keys list[/bold]
    """
    answer = _ask("GET", "/keys", url=url, params={"limit": _PAGE}, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        show_table([key | {"limits": _limits(key)} for key in answer["keys"]], _COLUMNS)


def _limits(key: dict[str, Any]) -> list[str]:
    """Describe the restrictions of a key."""
    return [
        words.format(", ".join(value) if isinstance(value := key[name], list) else value)
        for name, words in _LIMITS.items()
        if key[name] is not None
    ]


@key_commands.command("rotate")
def rotate(key: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Replace a key by a new one with the same rights, and print it, this once; the old one is refused at once.

    Example: [bold]location-gateway keys rotate 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    _show_new(_ask("POST", f"/keys/{key}/rotate", url=url, as_json=as_json), as_json)


@key_commands.command("revoke")
def revoke(key: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Revoke a key for good; every gateway refuses it at once.

    Example: [bold]location-gateway keys revoke 01JNB4C0M8V4C0M8T5Y6Z7A8B9[/bold]
    """
    answer = _ask("DELETE", f"/keys/{key}", url=url, as_json=as_json)
    if as_json:
        show_json(answer)
    else:
        print_line(f"{answer['name']} ({answer['prefix']}…) is revoked.")


def _show_new(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 -- the option of the command
    if as_json:
        show_json(answer)
        return
    # The key alone on standard output, so that it can be taken over by a script.
    print_error(f"{answer['name']}, id {answer['id']}; this key is not shown again:")
    sys.stdout.write(answer["key"] + "\n")


def _ask(
    method: str, path: str, *, url: str | None, as_json: bool, body: Any = None, params: dict[str, Any] | None = None
) -> Any:
    """Ask the gateway, or its database where there is no gateway to ask or no key to ask it with."""
    from app.startup.settings import load_settings

    settings = load_settings()
    if url is not None or settings.api_key is not None or settings.auth == "off":
        try:
            return call(method, path, url=url, body=body, params=params, as_json=as_json)
        except NoGateway:
            if url is not None:
                raise
    import asyncio

    from app.cli.keys_in_database import answer

    return asyncio.run(answer(settings, method, path, body))
