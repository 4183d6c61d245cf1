"""Figures that are looked up when the metrics are asked for."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.main import create_app
from app.storage.database import Database
from tests.support.gateways import asking, settings
from tests.support.vendors import CALLBACK_PATH, DEVICE, IMEI, MDN, VARIABLES, WIFI, Vendors, message

RUNNING = text("""
WITH session AS (
    INSERT INTO sessions (id, provider, account, state, interval_s, count, start_delay_s, max_age_s, devices_total,
        created_at, started_at)
    VALUES (gen_random_uuid(), 'thingspace', 'a', 'active', 60, 1000, 0, 120, 1, now() - interval '1 hour',
        now() - interval '1 hour')
    RETURNING id
)
INSERT INTO session_devices (session_id, device, received) SELECT id, '990001123456782', 50 FROM session
""")


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return create_app(settings(database_url), Vendors().transport())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


async def series(client: httpx.AsyncClient) -> dict[str, float]:
    lines = (await client.get("/metrics")).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] != "#"}


async def test_sessions_missing_reports_and_quarantine_are_counted(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post(CALLBACK_PATH, content=b"no JSON")
    async with app.state.storage.database.transaction() as session:
        await session.execute(RUNNING)

    found = await series(client)

    assert found['gateway_sessions{state="active"}'] == 1
    assert found['gateway_sessions{state="failed"}'] == 0
    assert 9 <= found["gateway_reports_missing"] <= 11
    assert found["gateway_callbacks_quarantined"] == 1
    assert found["gateway_database_up"] == 1


async def test_the_pool_and_the_tokens_are_shown(client: httpx.AsyncClient) -> None:
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})

    found = await series(client)

    assert (found["gateway_database_pool_in_use"], found["gateway_database_pool_size"]) == (0, 10)
    assert found['gateway_provider_token_age_seconds{provider="thingspace"}'] >= 0
    assert found['gateway_provider_ready{provider="thingspace"}'] == 1


async def test_without_a_database_the_metrics_say_so(client: httpx.AsyncClient, app: FastAPI) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/none")
    app.state.gateway.gauges._database = away

    found = await series(client)
    await away.aclose()

    assert found["gateway_database_up"] == 0


async def test_the_metrics_name_no_device_and_no_place(client: httpx.AsyncClient) -> None:
    await client.post("/locate", json={"device": DEVICE, "maxAge": 0})
    await client.post("/locate", json={"device": {"name": "pump-0417"}, "measurements": WIFI})
    for number in range(3):
        await client.post(CALLBACK_PATH, json=message(number))
    await client.get(f"/devices/{IMEI}/location")

    text_of_it = (await client.get("/metrics")).text

    assert not [secret for secret in (IMEI, MDN, "pump-0417", "42.09", "40.71", CALLBACK_PATH) if secret in text_of_it]
