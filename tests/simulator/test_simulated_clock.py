import asyncio
from datetime import UTC, datetime, timedelta

from app.simulator.world.clock import ManualClock, RealClock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def test_a_manual_clock_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock(NOON)

    await clock.advance(90)

    assert clock.now() == NOON + timedelta(seconds=90)


async def test_sleepers_wake_in_the_order_of_their_time_and_see_it() -> None:
    clock = ManualClock(NOON)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now() - NOON).total_seconds()))

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("late", 30.0), ("early", 10.0), ("also early", 10.0)):
            tasks.create_task(sleeper(name, seconds))
        await clock.advance(60)

    assert woken == [("early", 10.0), ("also early", 10.0), ("late", 30.0)]


async def test_who_sleeps_again_is_woken_again_within_one_advance() -> None:
    clock = ManualClock(NOON)
    ticks: list[float] = []

    async def ticker() -> None:
        while len(ticks) < 4:
            await clock.sleep(300)
            ticks.append((clock.now() - NOON).total_seconds())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ticker())
        await clock.advance(3600)

    assert ticks == [300.0, 600.0, 900.0, 1200.0]


async def test_a_sleep_of_nothing_ends_without_an_advance() -> None:
    clock = ManualClock(NOON)

    await clock.sleep(0)
    await clock.sleep(-5)

    assert clock.now() == NOON


async def test_a_cancelled_sleeper_does_not_disturb_the_others() -> None:
    clock = ManualClock(NOON)
    cancelled, other = asyncio.create_task(clock.sleep(10)), asyncio.create_task(clock.sleep(20))
    await asyncio.sleep(0)
    cancelled.cancel()

    await clock.advance(20)

    assert cancelled.cancelled()
    assert other.done()


async def test_a_fast_clock_sleeps_through_an_hour_at_once() -> None:
    clock = RealClock(speed=1_000_000.0)
    before = clock.now()

    await clock.sleep(3600)

    assert clock.now() - before >= timedelta(seconds=3600)
    assert clock.now().tzinfo is UTC
