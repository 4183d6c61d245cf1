"""How many calls are made at a time, and which are not begun because they could not end in time."""

import asyncio

import pytest

from app.errors import TimeTooShort
from app.model import Deadline, ProviderName
from app.upstream import CallSlots, CallTimes

ACME = ProviderName("acme")


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def times(clock: Clock) -> CallTimes:
    return CallTimes(ACME, clock=clock)


def called(times: CallTimes, clock: Clock, *durations_s: float) -> None:
    for duration_s in durations_s:
        clock.now += duration_s
        times.add(duration_s)


def test_a_call_is_not_begun_in_less_time_than_the_latest_ones_took(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 8, 9, 8)

    with pytest.raises(TimeTooShort, match=r"8\.0 s and more") as caught:
        times.check(Deadline.after(7.5))

    assert not caught.value.may_have_been_received
    times.check(Deadline.after(8.5))


def test_a_few_slow_calls_say_little(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 8, 8)

    times.check(Deadline.after(1))


def test_a_single_quick_call_shows_that_it_can_be_quicker(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 8, 0.5, 8)

    times.check(Deadline.after(1))


def test_after_a_minute_without_calls_one_is_made(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 8, 8, 8)
    clock.now += 61

    times.check(Deadline.after(1))


def test_nothing_is_begun_when_hardly_any_time_is_left(times: CallTimes) -> None:
    with pytest.raises(TimeTooShort):
        times.check(Deadline.after(0.01))


async def busiest(slots: CallSlots, calls: int, call_s: float) -> tuple[int, int]:
    """Make calls; give how many were under way at once at most, and how many were not begun."""
    under_way = most = refused = 0

    async def call() -> None:
        nonlocal under_way, most, refused
        try:
            async with slots.slot():
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(call_s)
                under_way -= 1
        except TimeTooShort:
            refused += 1

    await asyncio.gather(*(call() for _ in range(calls)))
    return most, refused


async def test_few_calls_are_made_at_a_time_where_that_suffices(times: CallTimes) -> None:
    slots = CallSlots(times, Deadline.after(60), fewest=4, most=50)

    assert await busiest(slots, 20, 0.01) == (4, 0)


async def test_more_calls_are_made_at_a_time_where_they_could_not_end_in_time(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 1)
    slots = CallSlots(times, Deadline.after(2.5), fewest=4, most=50)

    most, refused = await busiest(slots, 20, 0.5)

    # Two rounds of ten at the most; on a busy machine, whose calls take longer, more at a time.
    assert most >= 10
    assert refused == 0


async def test_calls_that_take_long_let_the_others_begin_although_none_has_ended(times: CallTimes) -> None:
    slots = CallSlots(times, Deadline.after(3), fewest=4, most=50)

    most, refused = await busiest(slots, 20, 1.5)

    assert (most, refused) == (20, 0)


async def test_there_is_a_limit_to_how_many_are_made_at_a_time(times: CallTimes, clock: Clock) -> None:
    called(times, clock, 1, 1, 1)
    slots = CallSlots(times, Deadline.after(1.5), fewest=1, most=5)

    most, refused = await busiest(slots, 20, 1)

    assert (most, refused) == (5, 15)
