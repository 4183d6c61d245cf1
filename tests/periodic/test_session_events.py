"""What happens to sessions is told to the log of events, once."""

import asyncio
from typing import Any

import orjson
import pytest
from stage import Stage, plan

from app.errors import ConsentRequired, Unavailable
from app.periodic import Periodic
from app.storage import events
from app.storage.events.log import OtherEvent
from tests.support.trackers import ACCOUNT, HandClock, StubTracker


async def tell(periodic: Periodic) -> None:
    """Do what the worker does about events."""
    jobs = {job.name: job for job in periodic.jobs()}
    await jobs["periodic events"].run()


async def told(stage: Stage) -> list[tuple[str, dict[str, Any]]]:
    """Read what the log was told about sessions, in its order."""
    await tell(stage.periodic)
    page = await events.read(stage.database, events.ORIGIN)
    others = [event.what for event in page.events if isinstance(event.what, OtherEvent)]
    return [(one.type, orjson.loads(one.data)) for one in others]


def types(told: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [type_ for type_, _ in told]


async def test_a_session_that_has_started_is_told_as_it_is_shown(stage: Stage) -> None:
    started = await stage.start()

    ((type_, data),) = await told(stage)

    assert type_ == "periodic.started"
    assert data == started == await stage.show(started["id"])


async def test_an_event_names_its_session_and_its_account(stage: Stage) -> None:
    started = await stage.start()
    await told(stage)

    (event,) = (await events.read(stage.database, events.ORIGIN)).events

    assert isinstance(event.what, OtherEvent)
    assert (event.what.subject, event.what.account) == (f"session/{started['id']}", ACCOUNT)
    assert event.what.session_id is not None
    assert event.what.at == stage.clock()


async def test_a_session_that_has_all_its_reports_has_ended_as_completed(stage: Stage) -> None:
    started = await stage.start(plan(count=1))
    await stage.report(started["transactionId"])
    await stage.periodic.advance()

    happened = await told(stage)

    assert types(happened) == ["periodic.started", "periodic.ended"]
    assert (happened[1][1]["reason"], happened[1][1]["state"]) == ("completed", "completed")


async def test_sessions_that_end_in_the_instant_of_their_start_have_started_before(stage: Stage) -> None:
    for number in range(6):
        started = await stage.start(plan(count=1, first=number))
        await stage.report(started["transactionId"], number)
    await stage.periodic.advance()

    assert types(await told(stage)) == 6 * ["periodic.started"] + 6 * ["periodic.ended"]


async def test_a_session_that_was_stopped_has_ended_as_stopped(stage: Stage, clock: HandClock) -> None:
    started = await stage.start()
    await told(stage)
    await stage.stop(started["id"])
    clock.forward(minutes=11)
    await stage.periodic.advance()

    happened = await told(stage)

    assert types(happened)[-1] == "periodic.ended"
    assert happened[-1][1]["reason"] == "stopped"


async def test_a_session_that_the_provider_refuses_has_ended_as_failed(stage: Stage, tracker: StubTracker) -> None:
    tracker.refuse_start(ConsentRequired("No consent.", provider="thingspace"))
    await stage.start()

    ((type_, data),) = await told(stage)

    assert (type_, data["reason"], data["problem"]["status"]) == ("periodic.ended", "failed", data["problem"]["status"])


async def test_a_missing_report_is_told_once_and_so_is_that_it_came(stage: Stage, clock: HandClock) -> None:
    started = await stage.start(plan(2))
    clock.forward(minutes=2)
    overdue = await told(stage)
    clock.forward(minutes=5)
    still_overdue = await told(stage)
    for number in range(3):
        for device in range(2):
            await stage.report(started["transactionId"], device, number=number)

    caught_up = await told(stage)

    assert types(overdue) == types(still_overdue) == ["periodic.started", "periodic.overdue"]
    assert types(caught_up) == ["periodic.started", "periodic.overdue", "periodic.caught-up"]
    assert (overdue[1][1]["reports"]["missing"], caught_up[2][1]["reports"]["missing"]) == (2, 0)


async def test_reports_that_are_missing_again_are_told_again(stage: Stage, clock: HandClock) -> None:
    started = await stage.start()
    clock.forward(minutes=2)
    await told(stage)
    await stage.report(started["transactionId"])
    await told(stage)
    clock.forward(minutes=5)

    assert types(await told(stage)) == [
        "periodic.started",
        "periodic.overdue",
        "periodic.caught-up",
        "periodic.overdue",
    ]


async def test_several_replicas_tell_each_change_once(stage: Stage, clock: HandClock) -> None:
    replicas = [stage.replica() for _ in range(3)]
    for _ in range(5):
        await stage.start()
    clock.forward(minutes=2)

    for _ in range(3):
        await asyncio.gather(*(tell(replica) for replica in replicas))

    assert sorted(types(await told(stage))) == 5 * ["periodic.overdue"] + 5 * ["periodic.started"]


async def test_what_cannot_be_told_is_told_the_next_time(stage: Stage) -> None:
    await stage.start()
    async with stage.database.connection() as connection:
        await connection.execute("ALTER TABLE events RENAME TO elsewhere")
        with pytest.raises(Unavailable):
            await tell(stage.periodic)
        await connection.execute("ALTER TABLE elsewhere RENAME TO events")

    assert types(await told(stage)) == ["periodic.started"]
