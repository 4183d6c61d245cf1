"""On a database without tables the gateway says what to do, on every route, and never fails."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.main import create_app
from app.storage.driver_errors import NOT_MIGRATED
from tests.support.gateways import asking, settings
from tests.support.vendors import DEVICE

BODIES: dict[str, Any] = {
    "/locate": {"device": DEVICE},
    "/locate/batch": {"requests": [{"id": "a", "device": DEVICE}]},
    "/periodic": {"devices": [DEVICE], "interval": 300, "count": 3},
    "/keys": {"name": "x", "scopes": ["locate"]},
}
KNOWN_BY_THE_DATABASE = [
    "/reports",
    "/positions",
    "/periodic",
    "/callbacks",
    "/listeners",
    "/keys",
    "/audit",
    "/readyz",
]


@pytest_asyncio.fixture
async def gateway(empty_database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(create_app(settings(empty_database_url))) as client:
        yield client


async def test_no_route_fails(gateway: httpx.AsyncClient) -> None:
    document = (await gateway.get("/openapi.json")).json()
    answers = {}
    for path, operations in document["paths"].items():
        address = re.sub(r"\{[^}]*\}", "01JNB4C0M8V4C0M8T5Y6Z7A8B9", path.replace("{provider}", "thingspace"))
        for method in operations:
            body = BODIES.get(path, {}) if method in {"post", "put", "patch"} else None
            answers[method, path] = (await gateway.request(method, address, json=body)).status_code

    assert {place for place, status in answers.items() if status == httpx.codes.INTERNAL_SERVER_ERROR} == set()


@pytest.mark.parametrize("path", KNOWN_BY_THE_DATABASE)
async def test_what_needs_the_database_says_how_to_migrate_it(gateway: httpx.AsyncClient, path: str) -> None:
    answer = await gateway.get(path)

    assert (answer.status_code, answer.json()["detail"]) == (503, NOT_MIGRATED)
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
async def test_exports_say_it_too(gateway: httpx.AsyncClient, media_type: str) -> None:
    answer = await gateway.get("/reports", headers={"Accept": media_type})

    assert (answer.status_code, answer.json()["detail"]) == (503, NOT_MIGRATED)
