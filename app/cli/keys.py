"""API keys: through a running gateway where one can be asked, else straight in its database.

The first key has to come from somewhere: without GATEWAY_API_KEY nobody could ask the gateway for one. Whoever can
read the settings can reach the database anyway, so that way needs no key; running gateways learn of it at once.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import pydantic
import typer
from rich.console import Console
from ulid import ULID

from app.access import Actor, KeyStore
from app.api.problems import to_request_error
from app.api.routes.keys import KeyRequest, to_key, to_new_key
from app.cli.requests import AsJson, Url, call, show_json, show_table
from app.embedded_postgres import EmbeddedPostgres
from app.errors import NotFound, Unavailable
from app.settings import Settings
from app.storage.database import Database
from app.storage.migrate import is_current, upgrade
from app.storage.rows import parse_id

key_commands = typer.Typer(help="API keys of this gateway.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it")]

_COLUMNS = {
    "id": "Id",
    "name": "Name",
    "prefix": "Begins with",
    "state": "State",
    "scopes": "Scopes",
    "accounts": "Accounts",
    "devices": "Devices",
    "requestsPerMinute": "Requests/min",
    "dailyFixes": "Fixes/day",
    "expiresAt": "Expires",
}
_PAGE = 1000
console = Console()

Work = Callable[[KeyStore, Actor], Awaitable[Any]]


@key_commands.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for")],
    scope: Annotated[list[str], typer.Option(help="locate, periodic, periodic:unlimited, reports:read, …; repeat it")],
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
    try:
        plan = KeyRequest.model_validate(body).to_plan()
    except pydantic.ValidationError as error:
        raise to_request_error(error) from None

    async def work(keeping: KeyStore, by: Actor) -> Any:
        return to_new_key(await keeping.create(plan, by))

    _show_new(_do("POST", "/keys", work, url=url, body=body), as_json)


@key_commands.command("list")
def list_keys(url: Url = None, as_json: AsJson = False) -> None:
    """Show the keys, revoked and expired ones included; the keys themselves are shown nowhere."""

    async def work(keeping: KeyStore, _: Actor) -> Any:
        return {"keys": [to_key(row) for row in await keeping.page(before=None, limit=_PAGE)], "next": None}

    answer = _do("GET", "/keys", work, url=url, params={"limit": _PAGE})
    if as_json:
        show_json(answer)
        return
    rows = [
        {name: ", ".join(value) if isinstance(value, list) else value for name, value in key.items()}
        for key in answer["keys"]
    ]
    show_table(rows, _COLUMNS)


@key_commands.command("rotate")
def rotate(key: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Replace a key by a new one with the same rights, and print it, this once; the old one is refused at once."""

    async def work(keeping: KeyStore, by: Actor) -> Any:
        return to_new_key(await keeping.rotate(_id_of(key), by))

    _show_new(_do("POST", f"/keys/{key}/rotate", work, url=url), as_json)


@key_commands.command("revoke")
def revoke(key: Id, url: Url = None, as_json: AsJson = False) -> None:
    """Revoke a key for good; every gateway refuses it at once."""

    async def work(keeping: KeyStore, by: Actor) -> Any:
        return to_key(await keeping.revoke(_id_of(key), by))

    answer = _do("DELETE", f"/keys/{key}", work, url=url)
    if as_json:
        show_json(answer)
    else:
        console.print(f"{answer['name']} ({answer['prefix']}…) is revoked.")


def _show_new(answer: dict[str, Any], as_json: bool) -> None:  # noqa: FBT001 -- the option of the command
    if as_json:
        show_json(answer)
        return
    # The key alone on standard output, so that it can be taken over by a script.
    Console(stderr=True).print(f"{answer['name']}, id {answer['id']}; this key is not shown again:", soft_wrap=True)
    sys.stdout.write(answer["key"] + "\n")


def _do(method: str, path: str, work: Work, *, url: str | None, body: Any = None, params: Any = None) -> Any:
    """Ask the gateway, or do it in its database where there is none to ask or no key to ask with."""
    settings = Settings()
    if url is not None or settings.api_key is not None or settings.auth == "off":
        try:
            return call(method, path, url=url, body=body, params=params)
        except Unavailable:
            if url is not None:
                raise
    return asyncio.run(_do_in_database(settings, work))


async def _do_in_database(settings: Settings, work: Work) -> Any:
    if settings.database_url is not None:
        return await _do_at(settings.database_url.get_secret_value(), work)
    async with EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin) as server:
        await upgrade(server.url)
        return await _do_at(server.url, work)


async def _do_at(address: str, work: Work) -> Any:
    database = Database(address, pool_size=1)
    try:
        async with database.session() as session:
            if not await is_current(await session.connection()):
                raise Unavailable("The database has not been migrated; run: location-gateway migrate")
        return await work(KeyStore(database), Actor(key_id="command-line", request_id=str(ULID())))
    finally:
        await database.aclose()


def _id_of(text: str) -> UUID:
    key = parse_id(text)
    if key is None:
        raise NotFound("There is no such key; `keys list` shows the ids.")
    return key
