import asyncio
from datetime import timedelta

import pytest
from starlette.applications import Starlette
from thingspace_caller import ACCOUNT, START

from app.simulator.vendors.thingspace.agenda import Agenda
from app.simulator.vendors.thingspace.periodic import PeriodicSessions, Plan


async def test_work_that_ended_by_an_error_is_not_passed_over_in_silence(simulator: Starlette) -> None:
    agenda = simulator.state.simulator.part(Agenda)

    async def break_down() -> None:
        raise ValueError

    async def run() -> None:
        async with simulator.router.lifespan_context(simulator):
            agenda.at(START, break_down)
            await asyncio.sleep(0.01)

    with pytest.raises(RuntimeError, match="had ended before"):
        await run()


async def test_actions_of_one_due_time_keep_their_order(simulator: Starlette) -> None:
    agenda = simulator.state.simulator.part(Agenda)
    done: list[str] = []

    async def note(name: str) -> None:
        done.append(name)

    async with simulator.router.lifespan_context(simulator):
        for name in "abc":
            agenda.at(START, lambda name=name: note(name))
        await agenda.wait_until_idle(5)

    assert done == ["a", "b", "c"]


def test_ended_sessions_are_forgotten_in_the_end(simulator: Starlette) -> None:
    state = simulator.state.simulator
    periodic, hour = PeriodicSessions(state), timedelta(hours=1)
    plan = Plan(fixes=1, interval=hour, delay=hour, longest_age=hour)
    running = periodic.begin("running", ACCOUNT, plan, [state.world.device(0)])

    for number in range(1100):
        periodic.begin(f"ended {number}", ACCOUNT, plan, [])

    assert periodic.find("running") is running
    assert periodic.find("ended 0") is None
    assert len(periodic.all()) == 1002
