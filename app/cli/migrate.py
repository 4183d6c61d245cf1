"""`migrate`: bring the database to a revision of its schema."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson
from app.cli.output import print_line, show_json
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.settings import Settings
    from app.storage.revisions import Route


def migrate(
    to: Annotated[
        str, typer.Option(help="Where to go: head, base (nothing), a revision such as 0002, or -1 to undo the last one")
    ] = "head",
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL, and touch no database")] = False,
    start: Annotated[str, typer.Option("--from", help="With --sql: the revision that the database is at")] = "base",
    as_json: AsJson = False,
) -> None:
    """Bring the database to the present schema, or to another revision of it.

    Safe to run from many processes at once. An older revision undoes those after it, and what they keep is lost: make a
    backup first. Nothing is asked, so that it works in scripts.

    Example: [bold]GATEWAY_DATABASE_URL=postgresql://… location-gateway migrate[/bold]

    Example: [bold]location-gateway migrate --from 0005 --to 0003 --sql[/bold]
    """
    _check_revision(to, "--to")
    if sql:
        _check_revision(start, "--from")
        _print_sql(start, to)
        return
    import asyncio

    from app.startup.settings import load_settings

    way = asyncio.run(_migrate(load_settings(), to, is_quiet=as_json))
    if as_json:
        show_json({"revision": way.end, "from": way.start, "applied": way.applied, "undone": way.undone})
    else:
        print_line(f"The database is at revision {way.end or 'none'}{'' if way.steps else ' already'}.")


def _check_revision(target: str, option: str) -> None:
    from app.storage.revisions import is_known, known_revisions

    if not is_known(target):
        known = ", ".join(known_revisions())
        raise typer.BadParameter(f"there is no revision {target!r}; there are: base, {known} (head)", param_hint=option)


def _print_sql(start: str, to: str) -> None:
    from app.storage.migrate import to_sql
    from app.storage.revisions import route

    sys.stdout.write(to_sql(route(None, start).end, to))


async def _migrate(settings: "Settings", to: str, *, is_quiet: bool) -> "Route":
    from app.startup.database import database_of

    async with database_of(settings, migrated=False) as url:
        return await _go(url, to, is_quiet=is_quiet)


async def _go(url: str, to: str, *, is_quiet: bool) -> "Route":
    from app.storage import migrate

    with ExitStack() as stack:
        advances = []

        def begin(way: "Route") -> None:
            if way.steps and not is_quiet:
                verb = "Applying" if way.is_upgrade else "Undoing, with what they keep,"
                print_line(f"{verb} {', '.join(way.steps)}")
                advances.append(stack.enter_context(progress("Migrating", len(way.steps), "revisions")))

        def step(_: str) -> None:
            for advance in advances:
                advance(1)

        return await migrate.migrate(url, to, on_route=begin, on_step=step)
