"""Who may call: API keys, open routes, request ids."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.main import create_app
from tests.support.gateways import KEY, asking, settings
from tests.support.vendors import DEVICE, WIFI, Vendors, asked

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPEN = {"/healthz", "/readyz"}


def operations(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, item in app.openapi()["paths"].items()
        for method in item
        if method in {"get", "put", "post", "delete", "patch"}
    ]


async def test_every_route_but_the_open_ones_needs_a_key(gateway: httpx.AsyncClient, gateway_app: FastAPI) -> None:
    found = operations(gateway_app)
    assert len(found) > 15
    for method, path in found:
        response = await gateway.request(method, path.replace("{", "").replace("}", ""), headers={"Authorization": ""})
        if path in OPEN:
            assert response.status_code == 200, path
            continue
        assert response.status_code == 401, f"{method} {path}"
        assert response.json()["code"] == "UNAUTHENTICATED"
        assert response.headers["www-authenticate"].startswith("Bearer")


async def test_paths_that_do_not_exist_need_a_key_too(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get("/nothing", headers={"Authorization": ""})

    assert response.status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/healthz", "/readyz"])
async def test_documentation_and_health_are_open(gateway: httpx.AsyncClient, path: str) -> None:
    response = await gateway.get(path, headers={"Authorization": ""})

    assert response.status_code == 200


async def test_the_page_of_the_map_and_its_assets_are_open(gateway: httpx.AsyncClient) -> None:
    page = await gateway.get("/map", headers={"Authorization": ""})
    asset = await gateway.get("/map-assets/none.js", headers={"Authorization": ""})

    # Where npm could not be reached, the page is not built, and says so.
    assert page.status_code == 200 or "not built" in page.json()["detail"]
    assert asset.status_code == 404


async def test_the_root_leads_to_the_map_without_a_key_and_without_an_absolute_address(
    gateway: httpx.AsyncClient,
) -> None:
    response = await gateway.get("/", headers={"Authorization": ""})

    assert (response.status_code, response.headers["location"]) == (307, "map")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        "Bearer \xe9\xff",
        "Bearer " + "x" * 5000,
    ],
)
async def test_anything_but_the_key_is_refused(gateway: httpx.AsyncClient, authorization: str) -> None:
    response = await gateway.get("/providers", headers={"Authorization": authorization.encode("latin-1")})

    assert response.status_code == 401
    assert KEY not in response.text


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(gateway: httpx.AsyncClient, scheme: str) -> None:
    response = await gateway.get("/providers", headers={"Authorization": f"{scheme} {KEY}"})

    assert response.status_code == 200


async def test_a_refused_caller_costs_nothing(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    await gateway.post("/locate", json={"device": DEVICE}, headers={"Authorization": "Bearer wrong"})

    assert not vendors.thingspace_calls


async def test_without_a_bootstrap_key_nobody_gets_in(database_url: str, vendors: Vendors) -> None:
    async with asking(create_app(settings(database_url, api_key=None), vendors.transport())) as gateway:
        response = await gateway.get("/providers", headers={"Authorization": "Bearer "})

    assert response.status_code == 401


async def test_with_open_doors_everybody_gets_in(database_url: str, vendors: Vendors) -> None:
    app = create_app(settings(database_url, auth="off", api_key=None), vendors.transport())
    async with asking(app) as gateway:
        response = await gateway.get("/providers", headers={"Authorization": ""})

    assert response.status_code == 200


async def test_metrics_can_be_opened(database_url: str, vendors: Vendors) -> None:
    async with asking(create_app(settings(database_url, metrics_public=True), vendors.transport())) as gateway:
        opened = await gateway.get("/metrics", headers={"Authorization": ""})

    assert opened.status_code == 200


@pytest.mark.parametrize("sent", ["r-1", "x" * 60, "with blanks and ~!"])
async def test_the_callers_request_id_is_used_everywhere(
    gateway: httpx.AsyncClient, vendors: Vendors, sent: str
) -> None:
    response = await gateway.post("/locate", json={"measurements": WIFI}, headers={"X-Request-Id": sent})

    assert response.headers["x-request-id"] == sent
    assert response.json()["requestId"] == sent
    assert asked(vendors.cloudlocate_calls[0])["RequestId"] == sent


@pytest.mark.parametrize("sent", [None, b"", b"x" * 61, b"\xc3\xa4", b"a\tb"])
async def test_anything_else_gets_a_new_request_id(gateway: httpx.AsyncClient, sent: bytes | None) -> None:
    headers: Any = {} if sent is None else {b"X-Request-Id": sent}

    response = await gateway.post("/locate", json={}, headers=headers)

    made = response.headers["x-request-id"]
    assert len(made) == 26
    assert response.json()["instance"] == made
    assert made.encode() != sent
