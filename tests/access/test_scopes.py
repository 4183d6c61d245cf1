"""Which scope a route needs: every route of the document, and what nobody has thought of."""

import httpx
import pytest
from fastapi import FastAPI

from app.api.access import ANY_KEY, SCOPES_TO_CHANGE, SCOPES_TO_READ, scopes_for
from app.caller import SCOPES
from tests.support.shared_gateway import MakeKey

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {"/healthz", "/readyz"}


def operations(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, item in app.openapi()["paths"].items()
        for method in item
        if method in {"get", "put", "post", "delete", "patch"} and path not in OPEN
    ]


async def test_every_route_of_the_document_stands_in_the_table(gateway_app: FastAPI) -> None:
    missing = [
        (method, path)
        for method, path in operations(gateway_app)
        if path.split("/")[1] not in (SCOPES_TO_READ if method == "GET" else SCOPES_TO_CHANGE)
    ]

    assert not missing


async def test_the_table_knows_no_scope_that_does_not_exist() -> None:
    for needed in (*SCOPES_TO_READ.values(), *SCOPES_TO_CHANGE.values()):
        assert needed <= SCOPES


def asked_at(path: str) -> str:
    """Fill in a path; what would never end is asked with a cursor that is none."""
    return path.replace("{", "").replace("}", "") + ("?after=none" if path.endswith("/stream") else "")


async def test_every_route_refuses_a_key_without_its_scope(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    for method, path in operations(gateway_app):
        needed = scopes_for(method, path)
        if needed == ANY_KEY:
            continue
        others = sorted(SCOPES - needed - {"periodic:unlimited"})
        key = await make_key(*others)

        response = await gateway.request(method, asked_at(path), headers=key)

        assert response.status_code == 403, f"{method} {path}"
        assert response.json()["code"] == "PERMISSION_DENIED"


async def test_every_route_lets_its_scope_pass(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, make_key: MakeKey
) -> None:
    for method, path in operations(gateway_app):
        needed = scopes_for(method, path) or {"locate"}
        for scope in needed:
            key = await make_key(scope)

            response = await gateway.request(method, asked_at(path), headers=key)

            assert response.status_code not in (401, 403), f"{method} {path}"


@pytest.mark.parametrize("path", ["/nothing", "/Locate", "/keys2"])
async def test_what_no_table_knows_is_for_admin_alone(gateway: httpx.AsyncClient, make_key: MakeKey, path: str) -> None:
    key = await make_key(*sorted(SCOPES - {"admin"}))

    response = await gateway.get(f"http://gateway{path}", headers=key)

    assert response.status_code == 403
    assert scopes_for("GET", path) == {"admin"}


async def test_reading_devices_does_not_allow_to_erase_them(gateway: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = await make_key(*sorted(SCOPES - {"admin"}))

    response = await gateway.delete("/devices/990001123456782", headers=key)

    assert response.status_code == 403


async def test_the_bootstrap_key_has_every_scope(gateway: httpx.AsyncClient) -> None:
    for path in ("/keys", "/audit", "/reports", "/periodic", "/callbacks", "/listeners", "/providers", "/metrics"):
        assert (await gateway.get(path)).status_code == 200, path
