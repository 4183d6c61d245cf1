"""The columns of reports are written once; statements, rows and records are made of that list."""

import re

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.storage.reports import records
from app.storage.tables import REPORT_COLUMNS
from app.storage.writer import arguments
from app.storage.writer.statements import store
from tests.support.servers import PROJECT


async def test_the_list_is_that_of_the_database(engine: AsyncEngine) -> None:
    named = text("SELECT column_name FROM information_schema.columns WHERE table_name = 'reports'")
    async with engine.connect() as connection:
        found = set(await connection.scalars(named))

    assert {column.name for column in REPORT_COLUMNS.values()} == found


def test_reading_and_storing_follow_the_list() -> None:
    listed = [column.name for column in REPORT_COLUMNS.values()]

    assert ", ".join(f"r.{name}" for name in listed) == records.COLUMNS
    assert f"INSERT INTO reports ({', '.join(listed)})" in store(has_reports=True, has_simple_fixes=False)
    assert set(REPORT_COLUMNS) == {*arguments.INSTANTS, *arguments.REPORT_MEMBERS, "session_id"}


@pytest.mark.parametrize("column", ["confidence_pct", "qos_met", "error_type", "error_info"])
def test_a_column_that_a_provider_fills_is_named_in_its_table_alone(column: str) -> None:
    files = (PROJECT / "app" / "storage").rglob("*.py")

    assert {file.name for file in files if re.search(rf"\b{column}\b", file.read_text())} == {"tables.py"}
