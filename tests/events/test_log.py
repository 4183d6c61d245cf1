"""The log of events in Postgres: what is stored is read once, whatever order it was committed in."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.errors import CursorExpired
from app.storage import partitions, retention
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.events import ORIGIN, Cursor, NewEvent, append, earliest, latest, read
from app.storage.events.log import OtherEvent
from app.storage.reports import ReportRecord
from app.storage.writer import Entry, Writer
from tests.support.reports import NOON, failed, located, store

INSERT = (
    "INSERT INTO events (generation, xid, part, id, type, subject, at, data) SELECT event_generation(), "
    "pg_current_xact_id()::text::bigint, nextval('event_parts'), $1, 'a.test', 'a/test', now(), '{}'"
)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await database.connect()
    await connection.execute("SELECT event_generation()")
    yield connection
    await connection.close()


async def ids_after(database: Database, cursor: Cursor, limit: int = 1000) -> tuple[list[UUID], Cursor]:
    page = await read(database, cursor, limit=limit)
    return [event.what.id for event in page.events], page.next


async def test_reports_are_events_in_the_order_of_their_commits(database: Database) -> None:
    first, second, third = located(NOON + timedelta(days=1)), located(NOON), failed(NOON)
    await store(database, first)
    await store(database, second, third)

    page = await read(database, ORIGIN)

    assert [event.what.id.hex for event in page.events] == [first.id, *sorted([second.id, third.id])]
    assert all(isinstance(event.what, ReportRecord) for event in page.events)
    assert page.is_last


async def test_a_report_that_comes_again_is_no_new_event(database: Database) -> None:
    await store(database, located())
    end = await latest(database)

    async with Writer(database.connect).running() as writer:
        await asyncio.gather(*(writer.submit(Entry(reports=(located(),))) for _ in range(3)))

    assert await ids_after(database, end) == ([], end)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_of_any_size_give_everything_once(database: Database, limit: int) -> None:
    for batch in range(3):
        await store(database, *(located(NOON + timedelta(minutes=10 * batch + number)) for number in range(4)))

    cursor, seen = ORIGIN, list[UUID]()
    for _ in range(20):
        found, cursor = await ids_after(database, Cursor.parse(str(cursor)), limit)
        seen += found

    assert len(seen) == len(set(seen)) == 12


async def test_each_event_is_a_place_to_go_on_from(database: Database) -> None:
    await store(database, *(located(NOON + timedelta(minutes=number)) for number in range(4)))
    page = await read(database, ORIGIN)

    following = [await ids_after(database, Cursor.parse(event.cursor_text)) for event in page.events]

    assert [len(found) for found, _ in following] == [3, 2, 1, 0]


async def test_what_commits_late_is_neither_missed_nor_waited_for(database: Database, connection: Connection) -> None:
    slow = connection.transaction()
    await slow.start()
    await connection.execute(INSERT, UUID(int=1))
    await store(database, located())

    before, cursor = await ids_after(database, ORIGIN)
    await slow.commit()
    after, end = await ids_after(database, cursor)

    assert [one.hex for one in before] == [located().id]
    assert after == [UUID(int=1)]
    assert await ids_after(database, end) == ([], end)


async def test_a_late_commit_does_not_repeat_a_row_that_was_read_in_part(
    database: Database, connection: Connection
) -> None:
    slow = connection.transaction()
    await slow.start()
    await connection.execute(INSERT, UUID(int=1))
    await store(database, *(located(NOON + timedelta(minutes=number)) for number in range(4)))

    before, cursor = await ids_after(database, ORIGIN, 2)
    await slow.commit()
    after, cursor = await ids_after(database, cursor, 1)
    rest, _ = await ids_after(database, cursor, 10)

    assert len(set(before + after + rest)) == len(before + after + rest) == 5


async def test_what_is_rolled_back_is_forgotten(database: Database, connection: Connection) -> None:
    slow = connection.transaction()
    await slow.start()
    await connection.execute(INSERT, UUID(int=1))
    await store(database, located())
    _, cursor = await ids_after(database, ORIGIN)
    await slow.rollback()

    found, end = await ids_after(database, cursor)

    assert (found, cursor.pending != (), end.pending) == ([], True, ())


async def test_the_latest_place_leaves_open_what_still_runs(database: Database, connection: Connection) -> None:
    slow = connection.transaction()
    await slow.start()
    await connection.execute(INSERT, UUID(int=1))
    await store(database, located())

    end = await latest(database)
    await slow.commit()

    assert (await ids_after(database, end))[0] == [UUID(int=1)]


async def test_an_erased_report_is_no_event_any_more(database: Database) -> None:
    await store(database, located(), located(NOON + timedelta(minutes=1)))
    async with database.transaction() as session:
        await session.execute(text("DELETE FROM reports WHERE at = :at"), {"at": NOON})

    found, end = await ids_after(database, ORIGIN)

    assert [one.hex for one in found] == [located(NOON + timedelta(minutes=1)).id]
    assert await ids_after(database, end) == ([], end)


async def test_something_else_is_appended_once(database: Database) -> None:
    event = NewEvent(type="periodic.started", subject="session/1", at=NOON, data={"id": "1"}, account="a")

    for expected in ([event.id], []):
        async with database.transaction() as session:
            assert await append(session, [event]) == expected

    (found,) = (await read(database, ORIGIN)).events
    assert isinstance(found.what, OtherEvent)
    assert (found.what.type, found.what.account, found.what.data) == ("periodic.started", "a", '{"id": "1"}')


async def test_a_new_life_of_the_cluster_is_a_generation_of_its_own(database: Database) -> None:
    await store(database, located())
    _, cursor = await ids_after(database, ORIGIN)
    async with database.transaction() as session:
        # As a dump is that came from another cluster, where numbers were higher.
        await session.execute(text("UPDATE event_generations SET life = 'another'"))
        await session.execute(text("UPDATE events SET xid = xid + 1000000"))
    _, high = await ids_after(database, ORIGIN)

    await store(database, located(NOON + timedelta(minutes=1)))
    found, end = await ids_after(database, high)

    assert [one.hex for one in found] == [located(NOON + timedelta(minutes=1)).id]
    assert end.generation > cursor.generation
    assert end.upper < high.upper


async def test_a_cursor_of_another_database_is_refused(database: Database) -> None:
    await store(database, located())

    with pytest.raises(CursorExpired):
        await read(database, Cursor(17, 4))


async def test_events_that_are_old_go_and_cursors_before_them_expire(
    database: Database, connection: Connection
) -> None:
    await store(database, located())
    _, middle = await ids_after(database, ORIGIN)
    await store(database, located(NOON + timedelta(minutes=1)))
    async with database.transaction() as session:
        await session.execute(text("UPDATE events SET stored_at = stored_at - interval '20 days'"))
    await store(database, located(NOON + timedelta(minutes=2)))
    now = await connection.fetchval("SELECT now()")

    removed = await retention.carry_out(connection, {"events": timedelta(days=7)}, now)

    assert removed == {"events_default": 2}
    for cursor in (ORIGIN, middle):
        with pytest.raises(CursorExpired):
            await read(database, cursor)
    found, _ = await ids_after(database, await earliest(database))
    assert [one.hex for one in found] == [located(NOON + timedelta(minutes=2)).id]


async def test_days_of_events_are_dropped_as_a_whole(database: Database, connection: Connection) -> None:
    now = await connection.fetchval("SELECT now()")
    await partitions.keep_ready(connection, now)
    await store(database, located())

    removed = await retention.carry_out(connection, {"events": timedelta(days=7)}, now + timedelta(days=30))

    assert removed["events_days"] == len(range(-partitions.DAYS_BEHIND, partitions.DAYS_AHEAD + 1))
    assert (await ids_after(database, await earliest(database)))[0] == []
