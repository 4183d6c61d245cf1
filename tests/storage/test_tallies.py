"""The running sums of sessions equal the slow exact ones, at any moment, whoever writes at the same time."""

# ruff: noqa: S608 -- statements are put together from the constants of this module

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from app.storage import tallies
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.migrate import upgrade

SESSIONS = [UUID(int=number) for number in range(3)]
DEVICES = 40
WRITERS = 4
STATEMENTS = 40

ADD_SESSIONS = """
INSERT INTO sessions (id, provider, account, state, interval_s, count, start_delay_s, max_age_s, devices_total,
    created_at)
SELECT id, 'thingspace', 'a', 'active', 300, 6, 0, 120, 1, now() FROM unnest($1::uuid[]) AS id
"""
ADD_DEVICES = """
INSERT INTO session_devices (session_id, device)
SELECT id, n::text FROM unnest($1::uuid[]) AS id CROSS JOIN generate_series(1, $2::int) AS n
"""
SOME = """
FROM (
    SELECT session_id, device FROM session_devices WHERE session_id = $1 AND device = ANY ($2)
    ORDER BY session_id, device FOR UPDATE
) AS n WHERE d.session_id = n.session_id AND d.device = n.device
"""
CHANGES = (
    f"UPDATE session_devices AS d SET received = received + 1 {SOME}",
    f"UPDATE session_devices AS d SET received = received + 2, failed = failed + 1 {SOME}",
    f"UPDATE session_devices AS d SET failed = failed + 1, ended_at = now() {SOME}",
    f"UPDATE session_devices AS d SET stop_requested_at = '2026-03-02' {SOME}",
    f"UPDATE session_devices AS d SET stopped_at = now(), ended_at = NULL {SOME}",
    f"UPDATE session_devices AS d SET last_at = now() {SOME}",
    "DELETE FROM session_devices WHERE session_id = $1 AND device = ($2::text[])[1]",
)
EXACT = """
SELECT session_id, coalesce(stop_requested_at, stopped_at), stopped_at IS NOT NULL, ended_at IS NOT NULL,
    received + failed, count(*), sum(received), sum(failed)
FROM session_devices GROUP BY 1, 2, 3, 4, 5
"""
SUMS = """
SELECT session_id, stops_at, has_stopped, has_ended, came, sum(devices), sum(received), sum(failed)
FROM session_tallies GROUP BY 1, 2, 3, 4, 5
HAVING sum(devices) <> 0 OR sum(received) <> 0 OR sum(failed) <> 0
"""


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect()
    await connection.execute(ADD_SESSIONS, SESSIONS)
    await connection.execute(ADD_DEVICES, SESSIONS, DEVICES)
    yield connection
    await connection.close()


async def check(connection: Connection) -> None:
    async with connection.transaction(isolation="repeatable_read"):
        exact = {tuple(row) for row in await connection.fetch(EXACT)}
        assert {tuple(row) for row in await connection.fetch(SUMS)} == exact


async def change(database: Database, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 -- a test's own
    connection = await database.connect()
    for _ in range(STATEMENTS):
        some = [str(number) for number in dice.sample(range(1, DEVICES + 1), dice.randrange(DEVICES))]
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(dice.choice(CHANGES), dice.choice(SESSIONS), some)
        await (transaction.rollback() if dice.random() < 0.1 else transaction.commit())
    await connection.close()


async def fold(database: Database) -> int:
    async with database.transaction() as db:
        return await tallies.fold(db)


async def test_sums_are_exact_while_many_write_and_others_fold(database: Database, connection: Connection) -> None:
    writing = asyncio.gather(*(change(database, seed) for seed in range(WRITERS)))
    while not writing.done():
        await asyncio.gather(fold(database), fold(database), check(connection))
    await writing

    await check(connection)


async def test_folding_leaves_one_row_for_devices_that_stand_alike(database: Database, connection: Connection) -> None:
    await change(database, 1)

    await fold(database)

    kinds = await connection.fetchval(f"SELECT count(*) FROM ({EXACT}) AS kinds")
    assert await connection.fetchval("SELECT count(*) FROM session_tallies") == kinds
    assert await fold(database) == 0


async def test_nothing_is_left_of_a_session_that_is_gone(database: Database, connection: Connection) -> None:
    await connection.execute("DELETE FROM sessions")

    await fold(database)

    assert await connection.fetchval("SELECT count(*) FROM session_tallies") == 0


async def test_a_batch_that_changes_no_device_leaves_no_row(database: Database, connection: Connection) -> None:
    await fold(database)

    await connection.execute("UPDATE session_devices SET received = received + 1 WHERE false")
    await connection.execute("UPDATE session_devices SET mdn = '5085550101'")

    assert await fold(database) == 0


async def test_sums_of_sessions_from_before_are_begun_while_others_write(empty_database_url: str) -> None:
    await upgrade(empty_database_url, "0015")
    database = Database(empty_database_url)
    connection = await database.connect()
    await connection.execute(ADD_SESSIONS, SESSIONS)
    await connection.execute(ADD_DEVICES, SESSIONS, DEVICES)

    writing = asyncio.gather(*(change(database, seed) for seed in range(WRITERS)))
    await upgrade(empty_database_url)
    await writing

    await check(connection)
    await connection.close()
    await database.aclose()
