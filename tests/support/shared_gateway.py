"""A gateway in front of stand-ins for both vendors, one for all tests of a module, emptied before each.

Modules that use it run on one event loop: `pytestmark = pytest.mark.asyncio(loop_scope="module")`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.main import create_app
from tests.support.gateways import asking, emptied, settings
from tests.support.postgres import DatabaseServer
from tests.support.vendors import VARIABLES, Vendors

MakeKey = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture(scope="module")
def shared_vendors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """Both vendors, and settings that lead to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("shared"))
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        yield Vendors()


@pytest.fixture(scope="module")
def module_database_url(database_server: DatabaseServer, template_url: str) -> Iterator[str]:
    """A migrated database for all tests of a module."""
    url = database_server.create(template_url)
    yield url
    database_server.drop(url)


@pytest.fixture(scope="module")
def gateway_app(module_database_url: str, shared_vendors: Vendors) -> FastAPI:
    """The application behind `gateway`."""
    return create_app(settings(module_database_url), shared_vendors.transport())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_gateway(gateway_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The application's client, as long as the module's tests run."""
    async with asking(gateway_app) as client:
        yield client


@pytest.fixture
def vendors(shared_vendors: Vendors) -> Vendors:
    """Both vendors, as if nobody had asked them before."""
    shared_vendors.begin_anew()
    return shared_vendors


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(
    running_gateway: httpx.AsyncClient, gateway_app: FastAPI, vendors: Vendors
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the running gateway, with the bootstrap key."""
    await emptied(gateway_app)
    yield running_gateway


@pytest.fixture
def make_key(gateway: httpx.AsyncClient) -> MakeKey:
    """Make keys; gives what is put into a request's headers to use one."""

    async def make(*scopes: str, **members: Any) -> dict[str, str]:
        response = await gateway.post("/keys", json={"name": "a test's", "scopes": list(scopes), **members})
        assert response.status_code == 201, response.text
        return {"Authorization": f"Bearer {response.json()['key']}"}

    return make
