"""The life of a key: made, shown once, known again, rotated, revoked, expired."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.shared_gateway import MakeKey
from tests.support.vendors import Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def create(gateway: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    response = await gateway.post("/keys", json={"name": "map", "scopes": ["reports:read"], **members})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def bearing(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['key']}"}


async def test_a_new_key_opens_what_its_scopes_allow(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)

    allowed = await gateway.get("/reports", headers=bearing(made))

    assert allowed.status_code == 200


async def test_a_key_is_shown_once_and_begins_with_its_prefix(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)

    shown = (await gateway.get(f"/keys/{made['id']}")).text + (await gateway.get("/keys")).text

    assert made["key"].startswith(made["prefix"])
    assert made["prefix"] in shown
    assert made["key"] not in shown


async def test_the_answer_with_the_key_is_not_to_be_cached(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post("/keys", json={"name": "map", "scopes": ["locate"]})

    assert response.headers["cache-control"] == "no-store"


async def test_the_database_does_not_hold_the_key(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    made = await create(gateway)
    secret = made["key"].removeprefix(made["prefix"] + "_")

    async with gateway_app.state.storage.database.transaction() as session:
        rows = (await session.execute(text("SELECT k::text, encode(digest, 'escape') FROM api_keys k"))).all()

    assert secret not in str(rows)


async def test_two_keys_are_never_alike(gateway: httpx.AsyncClient) -> None:
    keys = {(await create(gateway))["key"] for _ in range(20)}

    assert len(keys) == 20
    assert min(len(key) for key in keys) > 50


async def test_a_key_keeps_what_it_was_made_with(gateway: httpx.AsyncClient) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    members = {
        "scopes": ["locate", "periodic"],
        "accounts": ["0844559123-00001"],
        "devices": ["99000112*", "pump-?"],
        "requestsPerMinute": 60,
        "dailyFixes": 10,
        "expiresAt": until.isoformat(),
    }
    made = await create(gateway, **members)

    shown = (await gateway.get(f"/keys/{made['id']}")).json()

    assert shown["expiresAt"] == until.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {name: shown[name] for name in members if name != "expiresAt"} == {
        name: value for name, value in members.items() if name != "expiresAt"
    }
    assert shown["state"] == "active"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": []}, "/scopes"),
        ({"name": ""}, "/name"),
        ({"accounts": []}, "/accounts"),
        ({"devices": [""]}, "/devices/0"),
        ({"devices": ["pump-*", "*a" * 9]}, "/devices/1"),
        ({"dailyFixes": -1}, "/dailyFixes"),
        ({"requestsPerMinute": 0}, "/requestsPerMinute"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, ""),
        ({"expiresAt": "tomorrow"}, "/expiresAt"),
        ({"scopes": ["admin"], "accounts": ["a"]}, ""),
        ({"scopes": ["admin"], "devices": ["a"]}, ""),
        ({"scopes": ["periodic:unlimited"]}, ""),
        ({"secret": "mine"}, "/secret"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(
    gateway: httpx.AsyncClient, members: dict[str, Any], pointer: str
) -> None:
    response = await gateway.post("/keys", json={"name": "map", "scopes": ["locate"], **members})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_a_revoked_key_is_refused(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)

    revoked = await gateway.delete(f"/keys/{made['id']}")
    refused = await gateway.get("/reports", headers=bearing(made))

    assert revoked.json()["state"] == "revoked"
    assert refused.status_code == 401
    assert refused.json()["code"] == "UNAUTHENTICATED"


async def test_revoking_twice_changes_nothing(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)

    first = await gateway.delete(f"/keys/{made['id']}")
    second = await gateway.delete(f"/keys/{made['id']}")

    assert first.json() == second.json()


async def test_a_rotated_key_is_replaced_and_keeps_its_id(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)

    rotated = (await gateway.post(f"/keys/{made['id']}/rotate")).json()

    assert rotated["id"] == made["id"]
    assert (await gateway.get("/reports", headers=bearing(made))).status_code == 401
    assert (await gateway.get("/reports", headers=bearing(rotated))).status_code == 200


async def test_a_revoked_key_cannot_be_rotated(gateway: httpx.AsyncClient) -> None:
    made = await create(gateway)
    await gateway.delete(f"/keys/{made['id']}")

    response = await gateway.post(f"/keys/{made['id']}/rotate")

    assert response.status_code == 409


async def test_an_expired_key_is_refused(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    made = await create(gateway, expiresAt=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    async with gateway_app.state.storage.database.transaction() as session:
        await session.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 second'"))
        await session.execute(text("SELECT pg_notify('gateway_keys', '')"))

    async with asyncio.timeout(10):  # until the notification has arrived
        while (response := await gateway.get("/reports", headers=bearing(made))).status_code == 200:
            pass
    shown = await gateway.get(f"/keys/{made['id']}")

    assert response.status_code == 401
    assert shown.json()["state"] == "expired"


@pytest.mark.parametrize("path", ["/keys/01JNB4C0M8V4C0M8T5Y6Z7A8B9", "/keys/none"])
async def test_an_unknown_id_is_not_found(gateway: httpx.AsyncClient, path: str) -> None:
    assert (await gateway.get(path)).status_code == 404
    assert (await gateway.delete(path)).status_code == 404
    assert (await gateway.post(f"{path}/rotate")).status_code == 404


async def test_keys_are_listed_in_pages_newest_first(gateway: httpx.AsyncClient) -> None:
    made = [(await create(gateway))["id"] for _ in range(3)]

    first = (await gateway.get("/keys", params={"limit": 2})).json()
    second = (await gateway.get("/keys", params={"limit": 2, "cursor": first["next"]})).json()

    assert [key["id"] for key in (*first["keys"], *second["keys"])][:3] == sorted(made, reverse=True)


async def test_a_revoked_key_stops_on_other_replicas(
    gateway: httpx.AsyncClient, make_key: MakeKey, module_database_url: str, vendors: Vendors
) -> None:
    other_app = create_app(settings(module_database_url), vendors.transport())
    async with asking(other_app) as other:
        made = await create(gateway)
        assert (await other.get("/reports", headers=bearing(made))).status_code == 200

        await gateway.delete(f"/keys/{made['id']}")
        # The word of a commit goes round in a moment; a copy that merely grew old would count for longer than this.
        async with asyncio.timeout(1):
            while (await other.get("/reports", headers=bearing(made))).status_code != 401:
                pass


async def test_an_unknown_key_of_ours_is_refused(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get("/reports", headers={"Authorization": "Bearer lg_00000000_unknown"})

    assert response.status_code == 401
