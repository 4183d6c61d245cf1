import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import text

from app.settings import Settings
from app.storage import partitions, retention
from app.storage.clock import DatabaseClock
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.rows import NewCallback
from tests.support.reports import NOON, located, store

NOW = NOON + timedelta(days=40)
MONTH = timedelta(days=30)
ALL = {"audit": MONTH, "reports": MONTH, "callbacks": MONTH, "sessions": MONTH}
SESSION = """
INSERT INTO sessions (id, provider, account, state, interval_s, count, start_delay_s, max_age_s, devices_total,
    created_at, ended_at)
VALUES (gen_random_uuid(), 'thingspace', 'a', $1, 300, 6, 0, 120, 1, $2, $3)
"""


class Ahead(DatabaseClock):
    """The clock of a machine that is ahead by more than a year."""

    def compare(self, database_time: datetime, *, asked_ms: int, answered_ms: int) -> None:
        year_ms = 400 * 86_400_000
        super().compare(database_time, asked_ms=asked_ms + year_ms, answered_ms=answered_ms + year_ms)


class Watched(DatabaseClock):
    """The clock of a process that has run for some time."""

    def __init__(self, *, for_: timedelta) -> None:
        super().__init__()
        self._for = for_

    def watched_for(self) -> timedelta:
        return self._for


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect()
    yield connection
    await connection.close()


async def count(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608 -- the tests' own names


def callback(at: datetime) -> NewCallback:
    return NewCallback(
        id=f"{int(at.timestamp() * 1000):012x}{0:020x}",
        received_at=at,
        provider="thingspace",
        service="DeviceLocation",
        state="stored",
        signature="unchecked",
    )


async def test_days_that_are_over_are_dropped_and_younger_ones_stay(database: Database, connection: Connection) -> None:
    await partitions.keep_ready(connection, NOON)
    await partitions.keep_ready(connection, NOW)
    await store(database, located(NOON), callback=callback(NOON), body=b"{}")
    await store(database, located(NOW), callback=callback(NOW), body=b"{}")

    removed = await retention.carry_out(connection, ALL, NOW)

    assert removed["reports_days"] == removed["callbacks_days"] == removed["audit_days"] == 5
    assert (await count(connection, "reports"), await count(connection, "callbacks")) == (1, 1)


async def test_rows_outside_the_days_kept_ready_go_in_small_steps(database: Database, connection: Connection) -> None:
    await store(database, *(located(NOON + timedelta(minutes=minute)) for minute in range(25)))
    await store(database, located(NOW))

    removed = await retention.carry_out(connection, ALL, NOW, batch=10)

    assert removed["reports_default"] == 25
    assert await count(connection, "reports") == 1


async def test_a_report_dated_into_the_future_goes_by_its_arrival(database: Database, connection: Connection) -> None:
    await store(database, located(NOW + timedelta(days=900), received_at=NOON))

    await retention.carry_out(connection, ALL, NOW)

    assert await count(connection, "reports") == 0


async def test_positions_and_aliases_go_with_the_reports(database: Database, connection: Connection) -> None:
    await store(database, located(NOON))

    await retention.carry_out(connection, {"reports": MONTH}, NOW)

    assert (await count(connection, "positions"), await count(connection, "account_aliases")) == (0, 0)


@pytest.mark.parametrize(
    ("state", "ended_at", "left"),
    [
        pytest.param("completed", NOON, 0, id="ended long ago"),
        pytest.param("completed", NOW, 1, id="ended lately"),
        pytest.param("active", None, 1, id="running"),
    ],
)
async def test_sessions_go_by_their_end(
    connection: Connection, state: str, ended_at: datetime | None, left: int
) -> None:
    await connection.execute(SESSION, state, NOON, ended_at)

    await retention.carry_out(connection, ALL, NOW)

    assert await count(connection, "sessions") == left


async def test_the_audit_trail_goes_by_its_own_time(connection: Connection) -> None:
    insert = (
        "INSERT INTO audit (at, id, key_id, request_id, action, outcome) "
        "VALUES ($1, gen_random_uuid(), 'k', 'r', 'locate', 'located')"
    )
    await connection.execute(insert, NOON)
    await connection.execute(insert, NOW)

    removed = await retention.carry_out(connection, {"audit": MONTH}, NOW)

    assert removed == {"audit_default": 1}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM audit")


async def test_kinds_that_are_kept_for_good_are_left_alone(database: Database, connection: Connection) -> None:
    await store(database, located(NOON), callback=callback(NOON), body=b"{}")

    await retention.carry_out(connection, {"reports": MONTH}, NOW)

    assert (await count(connection, "reports"), await count(connection, "callbacks")) == (0, 1)


async def test_only_one_replica_at_a_time_carries_it_out(database: Database, connection: Connection) -> None:
    await store(database, located(NOON))
    other = await database.connect()
    await other.execute("SELECT pg_advisory_lock($1)", retention._LOCK)

    nothing = await retention.carry_out(connection, ALL, NOW)
    await other.close()

    assert nothing == {}
    assert await count(connection, "reports") == 1


async def test_a_day_that_somebody_reads_is_left_for_the_next_run(database: Database, connection: Connection) -> None:
    await partitions.keep_ready(connection, NOON)
    reader = await database.connect()
    reading = reader.transaction()
    await reading.start()
    await reader.fetch("SELECT * FROM callbacks")

    removed = await retention.carry_out(connection, {"callbacks": MONTH}, NOW)
    await reading.rollback()
    await reader.close()
    later = await retention.carry_out(connection, {"callbacks": MONTH}, NOW)

    assert removed == {}
    assert later["callbacks_days"] == 5


async def test_ingest_goes_on_meanwhile(database: Database, connection: Connection) -> None:
    await partitions.keep_ready(connection, NOON)
    await store(database, *(located(NOON + timedelta(seconds=second)) for second in range(100)))
    now = datetime.now(UTC)

    async def ingest() -> None:
        for number in range(50):
            await store(database, located(now + timedelta(seconds=number)))

    ingesting = asyncio.create_task(ingest())
    while not ingesting.done():
        await retention.carry_out(connection, ALL, now, batch=10)
    await ingesting

    assert await count(connection, "reports") == 50


async def test_the_run_tells_how_much_went(database: Database, connection: Connection) -> None:
    await store(database, located(NOON))

    await retention.run(database, {"reports": timedelta(days=1)})

    assert await count(connection, "reports") == 0


async def test_nothing_goes_while_the_clocks_differ(database: Database, connection: Connection) -> None:
    await store(database, located(NOON))

    database.clock = Ahead()

    await retention.run(database, ALL)

    assert await count(connection, "reports") == 1


async def test_a_clock_that_jumped_together_with_the_databases_deletes_nothing(
    database: Database, connection: Connection
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=400)
    await store(database, located(long_ago), callback=callback(long_ago))

    await retention.run(database, {"reports": MONTH, "callbacks": MONTH})

    assert await count(connection, "callbacks") == 1


async def test_time_that_a_process_has_lived_through_counts(database: Database, connection: Connection) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=400)
    await store(database, located(long_ago), callback=callback(long_ago))
    database.clock = Watched(for_=timedelta(days=40))

    await retention.run(database, {"callbacks": MONTH})

    assert await count(connection, "callbacks") == 0


async def test_a_kind_follows_the_common_number_unless_it_has_its_own() -> None:
    settings = Settings(retention_days=30, retention_audit_days=400, retention_sessions_days=0)

    assert settings.retention() == {
        "reports": timedelta(days=30),
        "callbacks": timedelta(days=30),
        "audit": timedelta(days=400),
        "events": timedelta(days=7),
        "deliveries": timedelta(days=7),
    }


async def test_without_numbers_everything_but_events_and_their_deliveries_is_kept() -> None:
    assert Settings().retention() == {"events": timedelta(days=7), "deliveries": timedelta(days=7)}


async def test_a_dead_runner_holds_nobody_up(database: Database, connection: Connection) -> None:
    await store(database, located(NOON))
    dead = await database.connect()
    await dead.execute("SELECT pg_advisory_lock($1)", retention._LOCK)
    dead.terminate()

    removed: dict[str, int] = {}
    while not removed:
        removed = await retention.carry_out(connection, ALL, NOW)

    assert await count(connection, "reports") == 0


async def test_nothing_else_in_the_database_is_taken_for_a_day(database: Database, connection: Connection) -> None:
    await connection.execute(text("CREATE TABLE reports_20200101_copy (at timestamptz)").text)

    assert await partitions.partitions_of(connection, "reports") == []
