"""A simulator in memory under a clock moved by hand, a caller that is logged in, and a receiver of its callbacks."""

from collections.abc import AsyncIterator

import httpx
import pytest
from callback_receiver import Receiver
from starlette.applications import Starlette
from thingspace_caller import START, Caller

from app.simulator import create_simulator
from app.simulator.options import Options
from app.simulator.world.clock import ManualClock


@pytest.fixture
def options() -> Options:
    return Options(fleet=200, consent="both")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def simulator(options: Options, clock: ManualClock) -> Starlette:
    return create_simulator(options, clock)


@pytest.fixture
async def stranger(simulator: Starlette, options: Options, clock: ManualClock) -> AsyncIterator[Caller]:
    """A caller without tokens."""
    transport = httpx.ASGITransport(simulator)
    async with (
        simulator.router.lifespan_context(simulator),
        httpx.AsyncClient(transport=transport, base_url="http://simulator") as http,
    ):
        yield Caller(http, simulator.state.simulator, options, clock)


@pytest.fixture
async def caller(stranger: Caller) -> Caller:
    """A caller that is logged in."""
    await stranger.enter()
    return stranger


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of callbacks on a real socket."""
    async with Receiver().listening() as listening:
        yield listening


@pytest.fixture
async def listened(caller: Caller, receiver: Receiver) -> Caller:
    """A caller whose account has a listener for callbacks about devices."""
    await caller.register(receiver.url)
    return caller
