"""`location-gateway erase`: what is kept of a device goes, once it is sure that it shall."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from sqlalchemy import text

from app.main import create_app
from app.storage.database import Database
from tests.support.gateways import KEY, settings
from tests.support.reports import IMEI, located, store
from tests.support.servers import running, serving


@pytest_asyncio.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    async with serving(create_app(settings(database_url))) as url:
        yield url


async def erase(*arguments: str, address: str, folder: Path) -> tuple[int, str]:
    environment = {"GATEWAY_API_KEY": KEY, "GATEWAY_PORT": address.rpartition(":")[2]}

    def run() -> tuple[int, str]:
        with running(["-m", "app", "erase", *arguments], environment=environment, folder=folder) as program:
            return program.process.wait(60), program.output()

    return await asyncio.to_thread(run)


async def reports_in(database: Database) -> int:
    async with database.transaction() as session:
        found: int = await session.scalar(text("SELECT count(*) FROM reports"))
    return found


async def test_a_device_is_erased_and_what_went_is_told(address: str, database: Database, tmp_path: Path) -> None:
    await store(database, located())

    code, output = await erase(IMEI, "--yes", address=address, folder=tmp_path)

    assert (code, await reports_in(database)) == (0, 0), output
    assert "1 reports" in output
    assert IMEI not in output


async def test_without_a_yes_nothing_goes(address: str, database: Database, tmp_path: Path) -> None:
    await store(database, located())

    code, _ = await erase(IMEI, address=address, folder=tmp_path)

    assert (code, await reports_in(database)) == (1, 1)


async def test_a_name_with_odd_characters_is_one_name(address: str, database: Database, tmp_path: Path) -> None:
    await store(database, located())

    code, output = await erase("van 7? #2", "--yes", address=address, folder=tmp_path)

    assert (code, await reports_in(database)) == (0, 1), output
