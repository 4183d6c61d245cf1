"""The register of devices follows everything that makes a device known, and loses what is not kept any more."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.base import PGDialect

from app.caller import EVERYTHING
from app.storage import device_pages, retention
from app.storage.connections import Connection, Connector
from app.storage.database import Database
from app.storage.device_pages import DeviceFilter
from app.storage.migrate import upgrade
from app.storage.sessions import SessionClock
from app.storage.writer import AliasPair, Entry, Writer
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, located, store

BEFORE, REGISTER = "0016", "0017"
CLOCK = SessionClock(now=NOON, grace_s=60, call_limit=timedelta(minutes=1))
FILL = """
INSERT INTO devices (device, account, device_kind, mdn, seen_at)
SELECT (990001000000000 + n)::text, 'a', 'imei', (5080000000 + n)::text, now() FROM generate_series(1, 20000) AS n
"""
REPORT = """
INSERT INTO reports (at, id, provider, type, status, account, device, device_kind, mdn, name, received_at)
VALUES (now(), gen_random_uuid(), 'thingspace', 'location', 'failed', $1, $2, $3, $4, $5, now())
"""


async def registered(database: Database) -> list[tuple[Any, ...]]:
    rows = await database.fetch("SELECT device, account, device_kind, mdn, name FROM devices ORDER BY device, account")
    return [tuple(row.values()) for row in rows]


@pytest.fixture
async def before(empty_database_url: str) -> AsyncIterator[Connection]:
    await upgrade(empty_database_url, BEFORE)
    connection = await Connector(empty_database_url).connect()
    yield connection
    await connection.close()


async def test_the_register_begins_with_what_is_known(empty_database_url: str, before: Connection) -> None:
    await before.execute(REPORT, "a", "imei-1", "imei", None, "pump")
    await before.execute(REPORT, None, "name:pump", None, None, "pump")
    await before.execute(
        "INSERT INTO positions (device, account, at, report_id, provider, mdn, latitude, longitude)"
        " VALUES ('imei-2', 'a', now(), gen_random_uuid(), 'thingspace', '5085550102', 1, 2)"
    )
    await before.execute("INSERT INTO account_aliases VALUES ('imei-1', '5085550101', 'a', 'imei', now())")

    await upgrade(empty_database_url, REGISTER)

    rows = await before.fetch("SELECT device, account, device_kind, mdn, name FROM devices ORDER BY device")
    assert [tuple(row.values()) for row in rows] == [
        ("imei-1", "a", "imei", "5085550101", "pump"),
        ("imei-2", "a", None, "5085550102", None),
        ("name:pump", "", None, None, "pump"),
    ]


async def test_a_report_registers_its_device(database: Database) -> None:
    await store(database, located())

    assert await registered(database) == [(IMEI, ACCOUNT, "imei", MDN, None)]


async def test_what_a_later_report_leaves_out_stays_known(database: Database) -> None:
    await store(database, located(name="pump"))
    await store(database, located(NOON + timedelta(minutes=1), mdn=None))

    assert await registered(database) == [(IMEI, ACCOUNT, "imei", MDN, "pump")]


async def test_a_number_that_a_caller_has_put_beside_a_device_gives_way(database: Database) -> None:
    await store(database, located(mdn="5085550999", is_vouched=False))
    await store(database, located(NOON + timedelta(minutes=1)))
    await store(database, located(NOON + timedelta(minutes=2), mdn="5085550999", is_vouched=False))

    assert await registered(database) == [(IMEI, ACCOUNT, "imei", MDN, None)]


async def test_a_number_that_the_provider_refuses_is_not_the_devices_any_more(database: Database) -> None:
    async with Writer(database.connect).running() as writer:
        await writer.submit(Entry(reports=(located(),)))
        await writer.submit(Entry(refused=(AliasPair(ACCOUNT, IMEI, MDN),)))

    assert await registered(database) == [(IMEI, ACCOUNT, "imei", None, None)]


async def test_a_device_is_written_once_and_not_with_every_report(database: Database) -> None:
    async with Writer(database.connect).running() as writer:
        await writer.submit(Entry(reports=(located(is_vouched=False),)))
        await database.fetch("DELETE FROM devices")
        await writer.submit(Entry(reports=(located(NOON + timedelta(minutes=1), is_vouched=False),)))

    assert await registered(database) == []


@pytest.mark.parametrize(("age", "left"), [(timedelta(days=30), 0), (timedelta(days=50), 1)])
async def test_a_device_of_which_nothing_is_kept_is_forgotten(database: Database, age: timedelta, left: int) -> None:
    await store(database, located())
    async with database.connection() as connection:
        await retention.carry_out(connection, {"reports": age}, NOON + timedelta(days=40))

    assert len(await registered(database)) == left


async def test_a_device_of_a_session_is_kept_as_long_as_the_session(database: Database) -> None:
    await store(database, located())
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO sessions (id, provider, account, state, interval_s, start_delay_s, max_age_s,"
                " devices_total, created_at)"
                " VALUES (gen_random_uuid(), 'thingspace', 'a', 'active', 60, 0, 0, 1, now())"
            )
        )
        await session.execute(
            text("INSERT INTO session_devices (session_id, device) SELECT id, :device FROM sessions"), {"device": IMEI}
        )
    async with database.connection() as connection:
        await retention.carry_out(connection, {"reports": timedelta(days=30)}, NOON + timedelta(days=40))

    assert len(await registered(database)) == 1


@pytest.mark.parametrize(("parts", "index"), [(None, "pk_devices"), (["00019999"], "ix_devices_search")])
async def test_a_page_is_led_by_an_index(database: Database, parts: list[str] | None, index: str) -> None:
    statement = device_pages.registered(DeviceFilter(parts=parts, reach=EVERYTHING), CLOCK, None, 100)
    literal = str(statement.compile(dialect=PGDialect(), compile_kwargs={"literal_binds": True})).replace("%%", "%")
    async with database.connection() as connection:
        for prepare in (FILL, "VACUUM ANALYZE devices"):
            await connection.execute(prepare)
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {literal}"))

    assert index in plan
    assert "Seq Scan on devices" not in plan
