from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from starlette.applications import Starlette

from app.simulator import create_simulator
from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.world.clock import ManualClock

OPTIONS = Options(consent="both")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 2, 8, 15, tzinfo=UTC))


@pytest.fixture
def simulator(clock: ManualClock) -> Starlette:
    return create_simulator(OPTIONS, clock)


@pytest.fixture
def state(simulator: Starlette) -> State:
    return simulator.state.simulator


@pytest.fixture
async def control(simulator: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(simulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        yield client


@pytest.fixture
async def thing(simulator: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the CloudLocate Thing's credentials."""
    transport = httpx.ASGITransport(simulator)
    auth = (OPTIONS.cloudlocate_username, OPTIONS.cloudlocate_password)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator", auth=auth) as client:
        yield client
