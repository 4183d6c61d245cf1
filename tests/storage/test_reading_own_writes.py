"""Reading waits for what this process has accepted and not committed yet."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from app.storage import reports
from app.storage.database import Database
from app.storage.reports import ReportFilter
from app.storage.writer import Entry, Writer
from tests.support.reports import located


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        yield writer


async def test_a_reading_transaction_finds_what_was_accepted_before(database: Database, writer: Writer) -> None:
    writer.submit(Entry(reports=(located(),)))

    async with database.reading() as db:
        found = await db.scalar(text("SELECT count(*) FROM reports"))

    assert found == 1


async def test_a_report_is_found_as_soon_as_it_is_accepted(database: Database, writer: Writer) -> None:
    report = located()
    writer.submit(Entry(reports=(report,)))

    assert await reports.find(database, UUID(report.id)) is not None


async def test_an_export_holds_what_was_accepted_before(database: Database, writer: Writer) -> None:
    writer.submit(Entry(reports=(located(),)))

    exported = [report async for batch in reports.export(database, ReportFilter()) for report in batch]

    assert len(exported) == 1


async def test_nothing_waits_for_what_is_accepted_later(database: Database, writer: Writer) -> None:
    await writer.submit(Entry(reports=(located(),)))

    await database.pending.settled()
    later = writer.submit(Entry(reports=(located(transaction="later"),)))

    assert not later.done()
    await later
