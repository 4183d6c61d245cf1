"""The gateway behind PgBouncer: in session mode by its one URL, in transaction mode with a direct one beside it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.access import Actor, Authenticator, KeyPlan, KeyStore
from app.main import create_app
from app.storage.database import Database
from tests.support.gateways import asking, settings
from tests.support.poolers import pooler
from tests.support.vendors import CALLBACK_PATH, DEVICE, VARIABLES, Vendors, message

MODES = ["session", "transaction"]


@pytest.fixture(autouse=True)
def _vendors_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def through(url: str, direct: str, mode: str) -> Any:
    return settings(url, database_direct_url=SecretStr(direct) if mode == "transaction" else None)


async def use_everything(client: httpx.AsyncClient) -> dict[str, int]:
    """Ask what a user asks; return the status of each call."""
    key = await client.post("/keys", json={"name": "app", "scopes": ["locate", "reports:read"]})
    calls = {
        "readyz": await client.get("/readyz"),
        "keys": key,
        "callback": await client.post(CALLBACK_PATH, json=message()),
        "locate": await client.post("/locate", json={"device": DEVICE}),
        "with key": await client.get("/reports", headers={"Authorization": f"Bearer {key.json()['key']}"}),
        "reports": await client.get("/reports"),
        "positions": await client.get("/positions"),
        "csv": await client.get("/reports", headers={"Accept": "text/csv"}),
        "audit": await client.get("/audit"),
        "sessions": await client.get("/periodic"),
        "callbacks": await client.get("/callbacks"),
        "revoked": await client.delete(f"/keys/{key.json()['id']}"),
        "erased": await client.delete(f"/devices/{DEVICE['imei']}"),
    }
    return {name: answer.status_code for name, answer in calls.items()}


@pytest.mark.parametrize("mode", MODES)
async def test_everything_works_through_a_pooler(database_url: str, tmp_path: Path, free_port: int, mode: str) -> None:
    with pooler(database_url, tmp_path, free_port, mode, pool_size=40 if mode == "session" else 4) as url:
        async with asking(create_app(through(url, database_url, mode), Vendors().transport())) as client:
            rounds = await asyncio.gather(*(use_everything(client) for _ in range(4)))

    assert {name: status for found in rounds for name, status in found.items() if status not in (200, 201, 204)} == {}


async def test_nothing_is_left_on_servers_that_others_use_next(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    with pooler(database_url, tmp_path, free_port, "transaction", pool_size=1) as url:
        database = Database(url, direct_url=database_url)
        await database.fetch("SELECT 1")
        async with database.transaction() as session:
            plans = await session.scalar(text("SELECT current_setting('enable_seqscan')"))
            statements = await session.scalar(text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"))
        await database.aclose()

    assert (plans, statements) == ("on", 0)


async def test_a_copy_of_keys_is_not_trusted_where_notifications_do_not_arrive(
    database: Database, database_url: str, tmp_path: Path, free_port: int
) -> None:
    keys = KeyStore(database)
    made = await keys.create(KeyPlan(name="app", scopes=("locate",)), Actor(key_id="tests", request_id="1"))
    with pooler(database_url, tmp_path, free_port, "transaction") as url:
        deaf = Database(url, direct_url=url)
        authenticator = Authenticator(deaf, None)
        following = asyncio.create_task(authenticator.follow())
        await asyncio.sleep(0.2)
        before = await authenticator.holder(made.key)
        await keys.revoke(made.record.id, Actor(key_id="tests", request_id="2"))
        after = await authenticator.holder(made.key)
        following.cancel()
        await deaf.aclose()

    assert before is not None
    assert after is None


async def test_a_pooler_in_transaction_mode_without_a_direct_address_is_named(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    with pooler(database_url, tmp_path, free_port, "transaction", pool_size=3) as url:
        database = Database(url)
        said = set()
        for _ in range(4):
            answers = await asyncio.gather(
                *(database.fetch("SELECT $1::integer", number) for number in range(5)), return_exceptions=True
            )
            said |= {str(answer) for answer in answers if isinstance(answer, Exception)}
        await database.aclose()

    assert any("GATEWAY_DATABASE_DIRECT_URL" in text for text in said)
