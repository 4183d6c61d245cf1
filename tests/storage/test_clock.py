from datetime import UTC, datetime, timedelta
from time import time_ns

import pytest

from app.storage.clock import DatabaseClock
from app.storage.database import Database


def milliseconds() -> int:
    return time_ns() // 1_000_000


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-3), timedelta(seconds=2)], ids=str)
def test_a_wrong_clock_is_corrected_by_the_databases(ahead: timedelta) -> None:
    clock, asked_ms = DatabaseClock(), milliseconds()
    database_time = datetime.fromtimestamp(asked_ms / 1000, UTC) - ahead

    clock.compare(database_time, asked_ms=asked_ms, answered_ms=asked_ms)

    assert clock.skew == ahead
    assert abs(clock.now() - datetime.now(UTC) + ahead) < timedelta(seconds=1)


def test_the_way_to_the_database_and_back_is_no_skew() -> None:
    clock, asked_ms = DatabaseClock(), milliseconds()
    halfway = datetime.fromtimestamp((asked_ms + 500) / 1000, UTC)

    clock.compare(halfway, asked_ms=asked_ms, answered_ms=asked_ms + 1000)

    assert clock.skew == timedelta(0)


async def test_the_database_tells_its_time(database: Database) -> None:
    database.clock.compare(datetime(2020, 1, 1, tzinfo=UTC), asked_ms=milliseconds(), answered_ms=milliseconds())

    await database.compare_clocks()

    assert abs(database.clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
