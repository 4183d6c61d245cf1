"""Everything that matches, in constant memory: a server-side cursor on a connection of its own."""

from collections.abc import AsyncGenerator
from typing import TypeAlias

import asyncpg

from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.reports import statements
from app.storage.reports.filters import ReportCursor, ReportFilter
from app.storage.reports.records import ReportRecord, to_record

BATCH = 1000
_FETCH_TIMEOUT_S = 300

Cursor: TypeAlias = "asyncpg.cursor.Cursor[asyncpg.Record]"


async def export(
    database: Database, wanted: ReportFilter, *, after: ReportCursor | None = None, limit: int | None = None
) -> AsyncGenerator[list[ReportRecord], None]:
    """Read all reports that match, as they were when the reading began; close the generator.

    Args:
        after: Begin behind this place.
        limit: How many reports at most; None: all.

    Raises:
        Unavailable: The database cannot be reached, or went away; what came before is not all.
    """

    async def begin(connection: Connection) -> tuple[Cursor, list[asyncpg.Record]]:
        # Before the snapshot is taken: a partition that is merged in between would seem to be without its latest rows.
        await connection.execute("LOCK TABLE reports IN ACCESS SHARE MODE")
        # The first row should come at once: read along the indexes rather than sort millions of rows first.
        await connection.execute("SET LOCAL enable_sort = off; SET LOCAL jit = off")
        cursor = await connection.cursor(*statements.everything(wanted, after, limit))
        return cursor, await cursor.fetch(BATCH, timeout=_FETCH_TIMEOUT_S)

    async with database.long_reading(begin) as (cursor, first):
        records = first
        while records:
            yield [to_record(record.values()) for record in records]
            records = await cursor.fetch(BATCH, timeout=_FETCH_TIMEOUT_S)
