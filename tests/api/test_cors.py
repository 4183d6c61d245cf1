"""Pages of the origins that are named may use the API from a browser, and of no others."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from pydantic import ValidationError

from app.main import create_app
from tests.support.gateways import asking, settings

OURS = "https://map.example.com"
OTHERS = "https://elsewhere.example"
PREFLIGHT = {
    "Authorization": "",
    "Origin": OURS,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
}


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(create_app(settings(database_url, cors_origins=f"{OURS}, http://127.0.0.1:5173"))) as client:
        yield client


@pytest.mark.parametrize("path", ["/locate", "/periodic", "/reports", "/nowhere"])
async def test_a_preflight_is_answered_without_a_key(client: httpx.AsyncClient, path: str) -> None:
    response = await client.options(path, headers=PREFLIGHT)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == OURS
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))
    assert "access-control-allow-credentials" not in response.headers


async def test_an_answer_may_be_read_with_the_headers_that_matter(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports", headers={"Origin": OURS})

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, OURS)
    exposed = response.headers["access-control-expose-headers"]
    assert all(name in exposed for name in ("X-Request-Id", "Retry-After", "Location"))
    assert "Origin" in response.headers["vary"]


async def test_a_problem_may_be_read_too(client: httpx.AsyncClient) -> None:
    response = await client.get("/reports", headers={"Origin": OURS, "Authorization": ""})

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (401, OURS)


async def test_pages_of_other_origins_are_refused(client: httpx.AsyncClient) -> None:
    preflight = await client.options("/locate", headers=PREFLIGHT | {"Origin": OTHERS})
    answer = await client.get("/reports", headers={"Origin": OTHERS})

    assert (preflight.status_code, preflight.json()["code"]) == (403, "PERMISSION_DENIED")
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in answer.headers


async def test_nothing_is_allowed_unless_it_is_set(database_url: str) -> None:
    async with asking(create_app(settings(database_url))) as client:
        preflight = await client.options("/locate", headers=PREFLIGHT)
        answer = await client.get("/reports", headers={"Origin": OURS})

    assert preflight.status_code != 200
    assert "access-control-allow-origin" not in answer.headers


async def test_all_origins_may_be_allowed(database_url: str) -> None:
    async with asking(create_app(settings(database_url, cors_origins="*"))) as client:
        answer = await client.get("/reports", headers={"Origin": OTHERS})

    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "origins",
    ["map.example.com", "https://map.example.com/", "https://map.example.com/path", "ftp://x", "https://", "a,*"],
)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValidationError, match=r"https://map\.example\.com"):
        settings("postgresql://u@h/d", cors_origins=origins)
