"""A gateway behind the product's own server, one for all tests of a module."""

from collections.abc import AsyncIterator

import pytest_asyncio
from fastapi import FastAPI

from app.server.fast_callbacks import CallbackProtocol
from tests.support.gateways import emptied
from tests.support.raw_http import Place, place_of
from tests.support.servers import serving
from tests.support.vendors import Vendors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving_place(gateway_app: FastAPI) -> AsyncIterator[Place]:
    """Where the gateway of the module's tests listens."""
    async with serving(gateway_app, http=CallbackProtocol, proxy_headers=False) as url:
        yield place_of(url)


@pytest_asyncio.fixture(loop_scope="module")
async def place(serving_place: Place, gateway_app: FastAPI, vendors: Vendors) -> Place:
    """Where the gateway listens, emptied."""
    await emptied(gateway_app)
    return serving_place
