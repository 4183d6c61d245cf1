"""`retention`: remove what has been kept for long enough."""

from typing import TYPE_CHECKING

from app.cli.options import AsJson
from app.cli.output import print_line, show_json
from app.cli.progress import progress

if TYPE_CHECKING:
    from app.settings import Settings


def retention(as_json: AsJson = False) -> None:
    """Remove what is older than the GATEWAY_RETENTION_… settings say, now, as a running gateway does by itself.

    Works on the database, in small steps, while gateways go on; it may be interrupted and run again. Useful before the
    first start with a retention, when there is much to remove.

    Example: [bold]GATEWAY_RETENTION_DAYS=90 location-gateway retention[/bold]
    """
    import asyncio

    from app.observability.logs import configure_logs
    from app.startup.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    removed = asyncio.run(_retention(settings))
    if as_json:
        show_json({"removed": removed})
        return
    for table, count in removed.items():
        print_line(f"{count:>8} {table.replace('_', ' ')}")
    if not removed:
        print_line("There was nothing to remove.")


async def _retention(settings: "Settings") -> dict[str, int]:
    from app.startup.database import database_of
    from app.storage import retention
    from app.storage.database import Database

    async with database_of(settings) as url:
        database = Database(url, pool_size=1)
        try:
            with progress("Removing", None, "rows and days") as advance:
                return await retention.run(database, settings.retention(), lambda _, count: advance(count))
        finally:
            await database.aclose()
