"""`migrate`: bring the database to a revision of its schema."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.output import say, show_json

if TYPE_CHECKING:
    from app.settings import Settings


def migrate(
    to: Annotated[str, typer.Option(help="Revision to go to: head, a revision, or -1 to undo one")] = "head",
    as_json: AsJson = False,
) -> None:
    """Bring the database to the present schema; safe to run from many processes at once.

    Example: [bold]GATEWAY_DATABASE_URL=postgresql://… location-gateway migrate[/bold]
    """
    from app.startup.settings import load_settings

    revision = asyncio.run(_migrate(load_settings(), to))
    if as_json:
        show_json({"revision": revision})
    else:
        say(f"The database is at revision {revision or 'none'}.")


async def _migrate(settings: "Settings", to: str) -> str | None:
    from app.embedded_postgres import EmbeddedPostgres
    from app.startup.database import check_database, explained

    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        await check_database(url, migrated=False)
        async with explained(url):
            return await _go(url, to)
    async with EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin) as server:
        return await _go(server.url, to)


async def _go(url: str, to: str) -> str | None:
    from app.storage.migrate import current, downgrade, upgrade

    if to.startswith("-") or to == "base":
        await downgrade(url, to)
    else:
        await upgrade(url, to)
    return await current(url)
