"""Order, retries, pauses and crashes of one subscription, with a clock that is put forward."""

import asyncio
from datetime import timedelta

import pytest

from app.subscriptions.leader import GONE, HOPELESS
from app.subscriptions.schedule import RETRIES_S
from tests.subscriptions.stage import OK, Stage, failing, ids_of

A_SECOND = timedelta(seconds=1)


async def test_what_is_delivered_is_kept_in_one_commit_with_the_cursor() -> None:
    stage = Stage()
    stage.happen("a1", "b1", "a2")

    await stage.turn()

    assert sorted(stage.sent) == ["a1", "a2", "b1"]
    assert stage.states() == {"a1": "delivered", "b1": "delivered", "a2": "delivered"}
    assert stage.progress is not None
    assert stage.progress.cursor == "3"
    assert [row.attempts[0]["status"] for row in stage.rows.values()] == [200, 200, 200]


async def test_the_id_of_a_delivery_is_its_events() -> None:
    stage = Stage()
    stage.happen("a1", "a2")

    await stage.turn()

    assert stage.ids == ids_of(stage)


async def test_while_a_devices_event_is_retried_its_later_ones_wait_and_others_go_on() -> None:
    stage = Stage()
    stage.answer = lambda names: failing(500) if names == "a1" else OK
    stage.happen("a1", "a2", "b1", "a3", "b2")

    await stage.turn()
    assert stage.sent == ["a1", "b1", "b2"]
    assert stage.states() == {
        "a1": "retrying",
        "a2": "retrying",
        "a3": "retrying",
        "b1": "delivered",
        "b2": "delivered",
    }

    stage.answer = lambda _: OK
    await stage.turn(seconds=4)
    assert stage.sent == ["a1", "b1", "b2"]
    await stage.turn(seconds=2)

    assert stage.sent == ["a1", "b1", "b2", "a1", "a2", "a3"]
    assert set(stage.states().values()) == {"delivered"}


async def test_events_that_come_while_their_device_waits_go_behind_the_others() -> None:
    stage = Stage()
    stage.answer = lambda names: failing(500) if names == "a1" else OK
    stage.happen("a1")
    await stage.turn()
    stage.happen("a2", "b1")
    await stage.turn(seconds=1)
    stage.answer = lambda _: OK

    await stage.turn(seconds=5)

    assert stage.sent == ["a1", "b1", "a1", "a2"]


async def test_a_delivery_is_tried_again_as_the_schedule_has_it_and_then_dead() -> None:
    stage = Stage()
    stage.answer = lambda names: failing(500) if names == "a1" else OK
    stage.happen("a1", "a2")
    await stage.turn()

    waits = []
    for _ in RETRIES_S:
        waits.append((await stage.to_next()).total_seconds())
        # Others' success keeps the receiver from being given up.
        stage.happen("b1")
        await stage.turn()

    assert waits == pytest.approx(RETRIES_S, rel=0.01)
    assert stage.sent.count("a1") == 1 + len(RETRIES_S)
    assert stage.states()["a1"] == "dead"
    assert stage.states()["a2"] == "delivered"
    row = next(row for row in stage.rows.values() if row.state == "dead")
    assert [attempt["status"] for attempt in row.attempts] == [500] * 10
    assert row.due_at is None


async def test_an_attempt_is_repeated_under_the_same_id() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(500)
    stage.happen("a1")
    await stage.turn()
    stage.answer = lambda _: OK

    await stage.turn(seconds=6)

    assert stage.ids == [ids_of(stage)[0]] * 2


async def test_retry_after_is_honoured_for_the_delivery() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(500, retry_after_s=60)
    stage.happen("a1")
    await stage.turn()

    assert (await stage.to_next()).total_seconds() == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_receiver_in_trouble_is_left_alone_as_a_whole(status: int) -> None:
    stage = Stage()
    stage.answer = lambda _: failing(status)
    stage.happen("a1")
    await stage.turn()
    stage.happen("b1", "c1")

    await stage.turn(seconds=0.5)
    assert stage.sent == ["a1"]

    await stage.turn(seconds=1)
    assert stage.sent == ["a1", "b1"]


async def test_a_pause_that_the_receiver_asks_for_holds_for_everything() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(429, retry_after_s=30)
    stage.happen("a1")
    await stage.turn()
    stage.answer = lambda _: OK
    stage.happen("b1", "c1")

    await stage.turn(seconds=29)
    assert stage.sent == ["a1"]

    await stage.turn(seconds=2)
    assert sorted(stage.sent) == ["a1", "a1", "b1", "c1"]


async def test_a_success_that_was_under_way_does_not_end_the_pause() -> None:
    stage = Stage()
    stage.is_held = asyncio.Event()
    stage.answer = lambda names: failing(429, retry_after_s=30) if names == "a1" else OK
    stage.happen("a1", "b1")
    await stage.turn()
    stage.is_held.set()
    await stage.turn()
    stage.happen("c1")

    await stage.turn(seconds=10)

    assert "c1" not in stage.sent


async def test_pauses_grow_to_ten_minutes_and_end_with_the_first_success() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(503)
    stage.happen(*(f"{device}1" for device in "abcdefghijklmnopqrstuvwxyz"))
    await stage.turn()
    pauses = []
    while len(pauses) < 12:
        began, sent = stage.now, len(stage.sent)
        while len(stage.sent) == sent:
            await stage.to_next()
        pauses.append((stage.now - began).total_seconds())

    assert pauses[:3] == pytest.approx([1, 2, 4], rel=0.02)
    assert max(pauses) <= 660

    stage.answer = lambda _: OK
    await stage.to_next()
    await stage.turn(seconds=1)

    assert set(stage.states().values()) == {"delivered"}
    assert stage.progress is not None
    assert (stage.progress.failures, stage.progress.slow_until) == (0, None)


async def test_a_receiver_that_fails_at_everything_is_left_alone() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(500)
    stage.happen(*(f"{chr(97 + number)}1" for number in range(26)))

    await stage.turn()

    assert len(stage.sent) == 16


async def test_a_receiver_that_is_gone_gets_nothing_more() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(410)
    stage.happen("a1")
    await stage.turn()
    stage.happen("b1")

    await stage.turn(seconds=3600)

    assert stage.sent == ["a1"]
    assert stage.problem == GONE
    assert stage.states() == {"a1": "retrying"}


async def test_a_receiver_that_fails_for_five_days_is_given_up() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(503)
    began = stage.now

    for number in range(20_000):
        if stage.problem is not None:
            break
        if number % 50 == 0:
            stage.happen(f"{chr(97 + number // 50 % 26)}1")
        stage.now += timedelta(minutes=11)
        await stage.leader.turn()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await stage.leader.turn()

    assert stage.problem == HOPELESS
    assert timedelta(days=5) <= stage.now - began < timedelta(days=5, hours=2)


async def test_a_slow_delivery_holds_nobody_else_up() -> None:
    stage = Stage()
    stage.is_held = asyncio.Event()
    stage.happen("a1")
    await stage.turn()
    held, stage.is_held = stage.is_held, None
    stage.happen("a2", "b1")

    await stage.turn()
    await stage.turn(seconds=2)

    assert stage.sent == ["a1", "b1"]
    assert stage.states() == {"a1": "retrying", "a2": "retrying", "b1": "delivered"}
    assert stage.progress is not None
    assert stage.progress.cursor == "3"

    held.set()
    await stage.turn()
    assert stage.states() == {"a1": "delivered", "a2": "delivered", "b1": "delivered"}


async def test_after_a_crash_it_goes_on_from_what_is_kept() -> None:
    stage = Stage()
    stage.answer = lambda names: failing(500) if names == "a1" else OK
    stage.happen("a1", "a2", "b1")
    await stage.turn()
    stage.answer = lambda _: OK
    stage.happen("a3", "b2")

    stage.begin()
    await stage.turn()
    await stage.turn(seconds=6)

    assert stage.sent == ["a1", "b1", "b2", "a1", "a2", "a3"]


async def test_what_was_sent_and_not_kept_is_sent_again_under_the_same_ids() -> None:
    stage = Stage()
    stage.is_led_by_another = True
    stage.happen("a1", "b1")
    await stage.turn()
    stage.is_led_by_another = False

    stage.begin()
    await stage.turn()

    assert sorted(stage.sent) == ["a1", "a1", "b1", "b1"]
    assert len(set(stage.ids)) == 2


async def test_a_leader_whose_lease_is_taken_ends() -> None:
    stage = Stage()
    stage.is_led_by_another = True
    stage.happen("a1")

    async with asyncio.timeout(10):
        await stage.leader.run()

    assert stage.rows == {}


async def test_a_stopped_leader_keeps_what_comes_of_the_attempts_under_way() -> None:
    stage = Stage()
    stage.is_held = asyncio.Event()
    stage.happen("a1", "a2")
    await stage.turn()
    stage.leader.stop()
    stage.is_held.set()

    async with asyncio.timeout(10):
        await stage.leader.run()

    assert stage.sent == ["a1"]
    assert stage.states() == {"a1": "delivered", "a2": "retrying"}


async def test_an_event_that_is_no_longer_kept_is_dead() -> None:
    stage = Stage()
    stage.answer = lambda _: failing(500)
    stage.happen("a1")
    await stage.turn()
    stage.events.clear()
    stage.progress = None

    stage.begin()
    await stage.turn(seconds=6)

    [row] = stage.rows.values()
    assert row.state == "dead"
    assert row.attempts[-1]["error"] == "its events are no longer kept"


async def test_a_batch_is_sent_when_it_is_full() -> None:
    stage = Stage(batch_events=3, batch_delay_s=10)
    stage.happen("a1", "b1")
    await stage.turn()
    assert stage.sent == []

    stage.happen("a2", "c1")
    await stage.turn()

    assert stage.sent == ["a1+b1+a2"]


async def test_a_batch_is_sent_when_its_first_event_has_waited_long_enough() -> None:
    stage = Stage(batch_events=100, batch_delay_s=10)
    stage.happen("a1")
    await stage.turn()
    stage.happen("b1")

    await stage.turn(seconds=9)
    assert stage.sent == []
    await stage.turn(seconds=1)

    assert stage.sent == ["a1+b1"]


async def test_batches_that_follow_each_other_at_once_share_a_commit() -> None:
    stage = Stage(batch_events=2, batch_delay_s=0)
    stage.happen(*(f"a{number}" for number in range(8)))

    await stage.turn()

    assert len(stage.sent) == 4
    assert set(stage.states().values()) == {"delivered"}
    assert stage.commits == 1


async def test_a_batch_that_failed_is_repeated_as_it_was_and_others_devices_go_on() -> None:
    stage = Stage(batch_events=2, batch_delay_s=0)
    stage.answer = lambda names: failing(500) if "a1" in names else OK
    stage.happen("a1", "b1", "a2", "c1", "b2", "d1")

    await stage.turn()
    assert stage.sent == ["a1+b1", "c1", "d1"]

    stage.answer = lambda _: OK
    await stage.turn(seconds=6)

    assert stage.sent == ["a1+b1", "c1", "d1", "a1+b1", "a2", "b2"]
    assert stage.ids[0] == stage.ids[3]
    assert len(set(stage.ids)) == 5


async def test_a_batch_has_the_same_id_after_a_crash() -> None:
    stage = Stage(batch_events=2, batch_delay_s=0)
    stage.is_led_by_another = True
    stage.happen("a1", "b1")
    await stage.turn()
    stage.is_led_by_another = False

    stage.begin()
    await stage.turn()

    assert stage.sent == ["a1+b1", "a1+b1"]
    assert stage.ids[0] == stage.ids[1]


async def test_a_batch_that_has_grown_since_is_another_one() -> None:
    stage = Stage(batch_events=9, batch_delay_s=0)
    stage.is_led_by_another = True
    stage.happen("a1")
    await stage.turn()
    stage.is_led_by_another = False
    stage.happen("b1")

    stage.begin()
    await stage.turn()

    assert stage.sent == ["a1", "a1+b1"]
    assert stage.ids[0] != stage.ids[1]


async def test_too_many_deliveries_that_wait_keep_the_log_from_being_read() -> None:
    stage = Stage()
    names = [f"a{number}" for number in range(350)]
    stage.answer = lambda _: failing(500)
    stage.happen(*names)

    for _ in range(3):
        await stage.turn(seconds=1)

    assert stage.sent == ["a0"]
    assert 200 <= len(stage.rows) <= 300

    stage.answer = lambda _: OK
    for _ in range(60):
        await stage.turn(seconds=6)
    assert stage.sent == ["a0", *names]
