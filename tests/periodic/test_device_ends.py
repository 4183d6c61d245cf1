"""What a session makes of a device that the provider has given up, and of a stop that failed."""

import pytest
from stage import Stage, plan

from app.errors import MissingIdentifier
from tests.support.trackers import StubTracker


async def test_a_device_that_was_given_up_owes_nothing(stage: Stage) -> None:
    await stage.start(plan(2, count=4))
    await stage.report("start-1", 0, given_up=True)
    await stage.report("start-1", 1)

    stage.clock.forward(seconds=1000)

    counts = (await stage.show("start-1"))["reports"]
    assert counts == {"expected": 8, "due": 5, "received": 1, "failed": 1, "missing": 3, "ended": 3}


async def test_a_device_that_was_given_up_says_so_and_why(stage: Stage) -> None:
    session = await stage.start(plan(2))
    await stage.report("start-1", 0, given_up=True)

    ended, other = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices

    assert (ended.state, other.state) == ("ended", "active")
    assert ended.last_error is not None
    assert ended.last_error.error_type == "TS DEVICE TYPE CHECK FAILED"


async def test_a_session_whose_devices_were_all_given_up_is_completed(stage: Stage) -> None:
    await stage.start(plan(2))

    await stage.report("start-1", 0, given_up=True)
    await stage.report("start-1", 1, given_up=True)

    session = await stage.show("start-1")
    assert (session["state"], session["reports"]["missing"]) == ("completed", 0)


async def test_a_device_that_reports_again_was_not_given_up(stage: Stage) -> None:
    session = await stage.start(plan(2))
    await stage.report("start-1", 0, given_up=True)
    stage.clock.forward(seconds=60)

    await stage.report("start-1", 0, number=1)

    device, _ = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices
    assert (device.state, device.counts.ended) == ("active", 0)


async def test_a_failure_that_may_pass_ends_no_device(stage: Stage) -> None:
    session = await stage.start(plan(1))

    await stage.report("start-1", 0, failed=True)

    (device,) = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices
    assert (device.state, device.counts.failed) == ("active", 1)


async def test_what_failed_to_stop_goes_on_and_can_be_stopped_again(stage: Stage, tracker: StubTracker) -> None:
    session = await stage.start(plan(2, count=None))
    await stage.stop("start-1")
    await stage.report("stop-1", 0, type="stopped")
    await stage.report("stop-1", 1, type="stopped", failed=True)

    assert (await stage.show("start-1"))["state"] == "active"
    _, going_on = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices
    assert (going_on.state, going_on.row.stop_requested_at) == ("active", None)
    assert going_on.row.stop_failed_at is not None
    again = await stage.stop("start-1")

    assert (again.accepted, len(tracker.stops[-1]), again.session.row.state) == (1, 1, "stopping")


async def test_a_failed_stop_that_nobody_asked_for_leaves_the_session_to_be_stopped(
    stage: Stage, tracker: StubTracker
) -> None:
    await stage.start(plan(1, count=None))
    await stage.report("start-1", 0, type="stopped", failed=True)

    stopped = await stage.stop("start-1")

    assert (stopped.accepted, len(tracker.stops)) == (1, 1)


async def test_a_stop_that_fails_after_the_grace_makes_the_session_active_again(stage: Stage) -> None:
    await stage.start(plan(1, count=None))
    await stage.stop("start-1")
    stage.clock.forward(seconds=700)
    assert (await stage.show("start-1"))["state"] == "stopped"

    await stage.report("stop-1", 0, type="stopped", failed=True)

    assert (await stage.show("start-1"))["state"] == "active"


async def test_a_stop_that_succeeds_at_last_is_a_stop(stage: Stage) -> None:
    await stage.start(plan(1, count=None))
    await stage.stop("start-1")
    await stage.report("stop-1", 0, type="stopped", failed=True)
    await stage.stop("start-1")

    await stage.report("stop-2", 0, type="stopped", number=1)

    assert (await stage.show("start-1"))["state"] == "stopped"


async def test_an_unlimited_session_needs_the_mdn_of_every_device(stage: Stage, tracker: StubTracker) -> None:
    with pytest.raises(MissingIdentifier) as refused:
        await stage.start(plan(2, with_mdn=False, count=None))

    assert [field.pointer for field in refused.value.errors] == ["/devices/0/mdn", "/devices/1/mdn"]
    assert tracker.starts == []
