"""`location-gateway retention`: what is old goes, now, and it is said how much."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.storage.database import Database
from tests.support.reports import located, store


@pytest.fixture
def retention(database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", database_url)
    return CliRunner()


async def test_what_is_too_old_goes_and_the_rest_stays(
    retention: CliRunner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_RETENTION_DAYS", "30")
    now = datetime.now(UTC)
    await store(database, located(at=now - timedelta(days=90)), located(at=now))

    done = json.loads((await asyncio.to_thread(retention.invoke, app, ["retention", "--json"])).stdout)

    assert sum(done["removed"].values()) >= 1


def test_without_a_number_of_days_nothing_goes(retention: CliRunner) -> None:
    done = retention.invoke(app, ["retention"])

    assert (done.exit_code, done.stdout) == (0, "There was nothing to remove.\n")
