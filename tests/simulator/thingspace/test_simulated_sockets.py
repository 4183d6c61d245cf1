"""The simulator and its receiver as servers of their own, on real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from thingspace_caller import ACCOUNT, Caller

from app.simulator import create_simulator
from app.simulator.options import Options
from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.world.clock import ManualClock, RealClock
from tests.support.servers import serving


@pytest.fixture
def options() -> Options:
    return Options(fleet=2500, full_speed=True, consent="both")


@pytest.fixture
async def remote(options: Options, clock: ManualClock) -> AsyncIterator[Caller]:
    """A caller of a simulator behind a socket."""
    simulator = create_simulator(options, RealClock())
    async with serving(simulator) as url, httpx.AsyncClient(base_url=url, timeout=90) as http:
        caller = Caller(http, simulator.state.simulator, options, clock)
        await caller.enter()
        yield caller


def receiving(bodies: list[bytes]) -> Starlette:
    async def take(request: Request) -> Response:
        bodies.append(await request.body())
        return Response()

    return Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])


async def test_thousands_of_callbacks_arrive_once_each(remote: Caller) -> None:
    bodies: list[bytes] = []
    devices = [device for device in remote.state.world.devices() if device.account == ACCOUNT][:2000]
    async with serving(receiving(bodies)) as url:
        await remote.register(f"{url}/token")
        await remote.start(*devices, numberOfFixes=2, fixInterval=60)
        figures = await remote.drained()

    assert figures["callbacks"]["acknowledged"] == 4000
    assert len(bodies) == len(set(bodies)) == 4000


async def test_a_start_whose_answer_is_lost_works_nevertheless(remote: Caller) -> None:
    bodies: list[bytes] = []
    async with serving(receiving(bodies)) as url:
        await remote.register(f"{url}/token")
        remote.fault("reset_after")
        with pytest.raises(httpx.TransportError):
            await remote.start(numberOfFixes=1)
        await remote.drained()

    assert len(bodies) == 1


async def test_a_restarted_receiver_misses_nothing(remote: Caller) -> None:
    bodies: list[bytes] = []

    async def pass_through(port: int) -> None:
        async with serving(receiving(bodies), port=port) as url:
            await remote.register(f"{url}/token")
            await remote.start(numberOfFixes=3, fixInterval=60)
            await remote.drained()

    async with serving(receiving(bodies)) as url:
        port = int(url.rpartition(":")[2])
    for _ in range(2):
        await pass_through(port)

    assert len(bodies) == 6


async def test_fixes_come_by_themselves_when_the_clock_runs(options: Options, clock: ManualClock) -> None:
    bodies: list[Any] = []
    simulator = create_simulator(Options(fleet=10, consent="both"), RealClock(speed=1000))
    state = simulator.state.simulator
    async with (
        serving(receiving(bodies)) as receiver,
        serving(simulator) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        caller = Caller(http, state, options, clock)
        await caller.enter()
        await caller.register(f"{receiver}/token")
        await caller.start(numberOfFixes=3, fixInterval=10)
        agenda = state.part(Agenda)
        while agenda.waiting:
            await state.clock.sleep(1)
        await caller.drained()

    assert len(bodies) == 3
