"""`location-gateway keys`: with a gateway that runs, and without one."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.main import create_app
from app.scopes import SCOPES
from tests.support.gateways import KEY, settings
from tests.support.servers import running, serving


@pytest_asyncio.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    async with serving(create_app(settings(database_url))) as url:
        yield url


async def keys(*arguments: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    def run() -> tuple[int, str]:
        with running(["-m", "app", "keys", *arguments], environment=environment, folder=folder) as program:
            return program.process.wait(60), program.output()

    return await asyncio.to_thread(run)


@pytest.mark.parametrize("way", ["through the gateway", "in its database"])
async def test_a_key_is_made_listed_rotated_and_revoked(
    address: str, database_url: str, tmp_path: Path, way: str
) -> None:
    through = {"GATEWAY_API_KEY": KEY, "GATEWAY_PORT": address.rpartition(":")[2]}
    environment = through if way == "through the gateway" else {"GATEWAY_DATABASE_URL": database_url}

    code, made = await keys(
        "create", "map", "--scope", "reports:read", "--json", folder=tmp_path, environment=environment
    )
    assert code == 0, made
    key = json.loads(made)
    headers = {"Authorization": f"Bearer {key['key']}"}
    async with httpx.AsyncClient(base_url=address, trust_env=False, headers=headers) as holder:
        assert (await holder.get("/reports")).status_code == 200
        _, listed = await keys("list", folder=tmp_path, environment=environment | {"COLUMNS": "300"})
        code, rotated = await keys("rotate", key["id"], "--json", folder=tmp_path, environment=environment)
        assert (await holder.get("/reports")).status_code == 401
        holder.headers["Authorization"] = f"Bearer {json.loads(rotated)['key']}"
        assert (await holder.get("/reports")).status_code == 200
        code, revoked = await keys("revoke", key["id"], folder=tmp_path, environment=environment)
        assert (await holder.get("/reports")).status_code == 401

    assert key["prefix"] in listed
    assert key["key"] not in listed
    assert "revoked" in revoked


async def test_the_first_key_needs_neither_a_gateway_nor_a_key(database_url: str, tmp_path: Path) -> None:
    code, output = await keys(
        "create", "first", "--scope", "admin", folder=tmp_path, environment={"GATEWAY_DATABASE_URL": database_url}
    )

    assert code == 0
    assert "lg_" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "map", "--scope", "admin", "--account", "a"], "cannot be restricted"),
        (["revoke", "nonsense"], "no such key"),
        (["rotate", "01JNB4C0M8V4C0M8T5Y6Z7A8B9"], "no such key"),
    ],
)
async def test_what_cannot_be_done_is_told_in_words(
    database_url: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    code, output = await keys(*arguments, folder=tmp_path, environment={"GATEWAY_DATABASE_URL": database_url})

    assert code == 1
    assert words in output
    assert "Traceback" not in output


async def test_a_database_without_tables_is_told_of(empty_database_url: str, tmp_path: Path) -> None:
    code, output = await keys("list", folder=tmp_path, environment={"GATEWAY_DATABASE_URL": empty_database_url})

    assert code == 4
    assert "location-gateway migrate" in output


async def test_a_scope_that_there_is_not_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    code, output = await keys("create", "map", "--scope", "nonsense", folder=tmp_path, environment={})

    assert code == 2
    assert all(scope in output for scope in SCOPES)
