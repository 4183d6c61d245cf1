import asyncio

import pytest
from stage import MDNS, Stage, plan

from app.errors import IncompatibleState, NotFound, OutcomeUnknown, ProviderNotConfigured, ProviderUnavailable
from app.ids import public_id
from app.model import PeriodicPlan, TransactionId
from app.periodic import Periodic
from app.settings import Settings
from tests.support.trackers import StubTracker, provider_with

DOWN = ProviderUnavailable("The connection failed.", provider="thingspace")


async def test_a_stop_is_split_into_calls_of_a_hundred(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(250))

    stopped = await stage.stop("start-1")

    assert sorted(len(mdns) for mdns in tracker.stops) == [50, 100, 100]
    assert sorted(mdn for mdns in tracker.stops for mdn in mdns) == MDNS[:250]
    assert (stopped.requested, stopped.accepted, stopped.failures) == (250, 250, ())
    assert stopped.session.row.state == "stopping"


async def test_few_calls_run_at_once(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(2000))

    await stage.stop("start-1")

    assert len(tracker.stops) == 20
    assert 2 <= tracker.most_stopping <= 4


async def test_a_second_stop_asks_for_nothing(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(3))
    await stage.stop("start-1")

    again = await stage.stop("start-1")

    assert (again.requested, again.accepted, again.failures) == (0, 0, ())
    assert again.session.row.state == "stopping"
    assert len(tracker.stops) == 1


async def test_stops_at_the_same_time_ask_once(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(3))

    outcomes = await asyncio.gather(*(stage.stop("start-1") for _ in range(10)))

    assert len(tracker.stops) == 1
    assert sorted(one.accepted for one in outcomes) == [0] * 9 + [3]


async def test_some_devices_can_be_stopped_and_then_the_others(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(3))

    some = await stage.stop("start-1", MDNS[0], MDNS[2])
    again = await stage.stop("start-1", MDNS[0])
    rest = await stage.stop("start-1")

    assert tracker.stops == [(MDNS[0], MDNS[2]), (MDNS[1],)]
    assert (some.accepted, some.session.row.state) == (2, "active")
    assert again.requested == 0
    assert rest.session.row.state == "stopping"


async def test_an_mdn_that_is_not_in_the_session_fails_by_itself(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(1))
    await stage.start(plan(1, first=5))

    stopped = await stage.stop("start-1", MDNS[0], MDNS[5], MDNS[9])

    assert [(failure.mdn, failure.error.code) for failure in stopped.failures] == [
        (MDNS[5], "NOT_FOUND"),
        (MDNS[9], "NOT_FOUND"),
    ]
    assert (stopped.requested, stopped.accepted, tracker.stops) == (3, 1, [(MDNS[0],)])


async def test_a_failing_call_fails_its_devices_alone(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(250))
    tracker.refusals[MDNS[120]] = DOWN

    stopped = await stage.stop("start-1")
    tracker.refusals.clear()
    repeated = await stage.stop("start-1")

    assert (stopped.accepted, len(stopped.failures)) == (150, 100)
    assert {failure.mdn for failure in stopped.failures} == set(MDNS[100:200])
    assert {failure.error.code for failure in stopped.failures} == {"PROVIDER_UNAVAILABLE"}
    assert stopped.session.row.state == "active"
    assert (repeated.accepted, repeated.session.row.state) == (100, "stopping")
    assert len(tracker.stops) == 4


async def test_a_device_without_an_mdn_cannot_be_stopped_before_a_callback_has_taught_it(
    stage: Stage, tracker: StubTracker
) -> None:
    await stage.start(plan(2, with_mdn=False))
    await stage.report("start-1", 0)

    first = await stage.stop("start-1")
    await stage.report("start-1", 1)
    second = await stage.stop("start-1")

    assert [failure.error.code for failure in first.failures] == ["MISSING_IDENTIFIER"]
    assert (first.accepted, first.session.row.state) == (1, "active")
    assert tracker.stops == [(MDNS[0],), (MDNS[1],)]
    assert second.session.row.state == "stopping"


async def test_mdns_are_learned_from_the_alias_book_as_well(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(1, with_mdn=False))
    await stage.start(plan(1))

    stopped = await stage.stop("start-1")

    assert stopped.accepted == 1
    assert tracker.stops == [(MDNS[0],)]


@pytest.mark.parametrize("by_stop_id", [True, False], ids=["by the stop's id", "by the start's id"])
async def test_the_stop_callbacks_of_all_devices_end_the_session(stage: Stage, *, by_stop_id: bool) -> None:
    await stage.start(plan(2))
    await stage.stop("start-1")
    transaction = "stop-1" if by_stop_id else "start-1"

    await stage.report(transaction, 0, type="stopped")
    half = (await stage.show("start-1"))["state"]
    await stage.report(transaction, 1, type="stopped")
    session = await stage.show("stop-1")

    assert (half, session["state"]) == ("stopping", "stopped")
    assert session["endedAt"] == "2026-03-02T12:00:00Z"


async def test_a_stop_callback_before_the_reply_is_not_lost(stage: Stage, tracker: StubTracker) -> None:
    await stage.start()
    await stage.report("stop-1", type="stopped")
    await stage.settle()

    stopped = await stage.stop("start-1")

    assert stopped.session.row.state == "stopped"


async def test_ten_minutes_end_a_session_whose_stop_callbacks_do_not_come(stage: Stage) -> None:
    await stage.start()
    await stage.stop("start-1")

    stage.clock.forward(minutes=10)
    before = (await stage.show("start-1"))["state"]
    stage.clock.forward(seconds=1)

    assert (before, (await stage.show("start-1"))["state"]) == ("stopping", "stopped")


async def test_nothing_is_due_after_the_stop(stage: Stage) -> None:
    await stage.start()
    stage.clock.forward(seconds=340)
    await stage.stop("start-1")

    stage.clock.forward(days=1)

    assert (await stage.show("start-1"))["reports"] == {
        "expected": 6,
        "due": 2,
        "received": 0,
        "failed": 0,
        "missing": 2,
        "ended": 0,
    }


async def test_an_ended_session_is_stopped_already(stage: Stage, tracker: StubTracker) -> None:
    await stage.start()
    stage.clock.forward(days=1)

    stopped = await stage.stop("start-1")

    assert (stopped.requested, stopped.session.row.state, tracker.stops) == (0, "completed", [])


async def test_a_session_that_may_not_have_begun_cannot_be_stopped(stage: Stage, tracker: StubTracker) -> None:
    tracker.refuse_start(OutcomeUnknown("Lost."))
    problem = await stage.start()

    with pytest.raises(IncompatibleState):
        await stage.stop(problem["session"]["id"])


async def test_a_session_under_way_to_begin_cannot_be_stopped(stage: Stage, tracker: StubTracker) -> None:
    refusals = []

    async def stop_too_early(plan: PeriodicPlan) -> TransactionId:
        (view,) = (await stage.periodic.page(state="requested", account=None, before=None, limit=1)).entries
        with pytest.raises(IncompatibleState) as caught:
            await stage.stop(public_id(view.row.id))
        refusals.append(caught.value.code)
        return TransactionId("start-1")

    tracker.on_start = stop_too_early
    await stage.start()

    assert refusals == ["INCOMPATIBLE_STATE"]


async def test_what_does_not_exist_cannot_be_stopped(stage: Stage) -> None:
    with pytest.raises(NotFound):
        await stage.stop("there is none")


async def test_late_fixes_after_a_stop_do_not_reopen_it(stage: Stage) -> None:
    await stage.start()
    await stage.stop("start-1")
    await stage.report("stop-1", type="stopped")
    assert (await stage.show("start-1"))["state"] == "stopped"

    stage.clock.forward(seconds=5)
    await stage.report("start-1")

    session = await stage.show("start-1")
    assert (session["state"], session["reports"]["received"]) == ("stopped", 1)


@pytest.mark.parametrize(
    ("error", "code"), [(TimeoutError(), "PROVIDER_TIMEOUT"), (RuntimeError("a bug"), "INTERNAL")], ids=["late", "bug"]
)
async def test_a_call_that_breaks_off_fails_its_devices_alone(
    stage: Stage, tracker: StubTracker, error: Exception, code: str
) -> None:
    await stage.start(plan(150))
    tracker.refusals[MDNS[0]] = error

    stopped = await stage.stop("start-1")

    assert stopped.accepted == 50
    assert {failure.error.code for failure in stopped.failures} == {code}


async def test_a_session_of_a_provider_that_is_not_configured_any_more_cannot_be_stopped(stage: Stage) -> None:
    await stage.start()
    providers = [provider_with(StubTracker(), configured=False)]
    periodic = Periodic(providers, stage.database, stage.writer, Settings(), now=stage.clock)

    with pytest.raises(ProviderNotConfigured):
        await periodic.stop("start-1")


async def test_a_caller_who_goes_away_does_not_stop_the_stopping(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(300))
    caller = asyncio.create_task(stage.stop("start-1"))
    await tracker.stop_called.wait()
    caller.cancel()
    await asyncio.wait([caller])
    again = await stage.stop("start-1")

    assert (again.requested, again.session.row.state) == (0, "stopping")
    assert len(tracker.stops) == 3
