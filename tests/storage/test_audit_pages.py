"""Pages of the audit trail: every row about a device, once, whatever names it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.ids import new_id
from app.storage import audit_pages
from app.storage.audit import AuditFilter, AuditRecord
from app.storage.database import Database
from tests.support.reports import IMEI, MDN, located, store

NOW = datetime.now(UTC).replace(microsecond=0)
SESSION, OTHER_SESSION = UUID(int=1), UUID(int=2)
AGES = [timedelta(minutes=1), timedelta(days=1), timedelta(days=20), timedelta(days=100), timedelta(days=500)]
SESSIONS = """
INSERT INTO sessions (id, provider, account, state, interval_s, count, start_delay_s, max_age_s, devices_total,
    created_at)
SELECT id, 'thingspace', 'a', 'active', 300, 6, 0, 120, 1, now() FROM unnest($1::uuid[]) AS id
"""
AUDIT = """
INSERT INTO audit (at, id, key_id, request_id, action, outcome, device, session_id)
VALUES ($1, $2, $3, 'r', 'locate', 'located', $4, $5)
"""


@pytest.fixture
async def _sessions(database: Database) -> None:
    """IMEI is in one session, and another device in another."""
    connection = await database.connect()
    await connection.execute(SESSIONS, [SESSION, OTHER_SESSION])
    devices = "INSERT INTO session_devices (session_id, device) VALUES ($1, $2)"
    await connection.executemany(devices, [(SESSION, IMEI), (OTHER_SESSION, "990001000000002")])
    await connection.close()


async def note(
    database: Database, at: datetime, *, device: str | None = None, session: UUID | None = None, key: str = "k"
) -> UUID:
    row_id = new_id(at).to_uuid()
    connection = await database.connect()
    await connection.execute(AUDIT, at, row_id, key, device, session)
    await connection.close()
    return row_id


async def ids(database: Database, wanted: AuditFilter, limit: int = 100) -> list[UUID]:
    return [row.id for row in (await audit_pages.page(database, wanted, limit)).entries]


@pytest.mark.usefixtures("_sessions")
async def test_rows_of_a_device_and_of_its_sessions_are_in_order(database: Database) -> None:
    expected = [
        await note(database, NOW - age, device=IMEI if number % 2 else None, session=None if number % 2 else SESSION)
        for number, age in enumerate(AGES)
    ]
    await note(database, NOW, device="990001000000002", session=OTHER_SESSION)

    assert await ids(database, AuditFilter(device=IMEI)) == expected


@pytest.mark.usefixtures("_sessions")
async def test_a_row_that_names_device_and_session_is_listed_once(database: Database) -> None:
    row = await note(database, NOW, device=IMEI, session=SESSION)

    assert await ids(database, AuditFilter(device=IMEI)) == [row]


@pytest.mark.parametrize(
    "wanted",
    [AuditFilter(), AuditFilter(device=IMEI), AuditFilter(key_id="k"), AuditFilter(action="locate", key_id="k")],
    ids=["everything", "device", "key", "action"],
)
@pytest.mark.usefixtures("_sessions")
async def test_pages_follow_each_other_over_the_years(database: Database, wanted: AuditFilter) -> None:
    expected = [await note(database, NOW - age, device=IMEI) for age in AGES for _ in range(2)]
    found = await audit_pages.page(database, wanted, 3)
    listed: list[AuditRecord] = list(found.entries)

    while found.next is not None:
        found = await audit_pages.page(database, replace(wanted, before=found.next), 3)
        listed += found.entries

    assert [row.at for row in listed] == [NOW - age for age in AGES for _ in range(2)]
    assert {row.id for row in listed} == set(expected)


async def test_a_page_looks_through_so_many_rows_and_says_where_to_go_on(database: Database) -> None:
    old = await note(database, NOW - timedelta(days=400), key="rare")
    rows = [await note(database, NOW - timedelta(days=day)) for day in range(7)]
    wanted = AuditFilter(account="nobody")

    first = await audit_pages.page(database, wanted, 10, most_scanned=5)
    second = await audit_pages.page(database, replace(wanted, before=first.next), 10, most_scanned=5)

    assert (first.entries, first.next) == ([], rows[4])
    assert (second.entries, second.next) == ([], None)
    assert await ids(database, AuditFilter(key_id="rare", action="locate")) == [old]


async def test_a_number_leads_to_its_device_and_a_device_to_its_numbers(database: Database) -> None:
    await store(database, located())
    by_imei = await note(database, NOW - timedelta(minutes=1), device=IMEI)
    by_number = await note(database, NOW, device=f"mdn:{MDN}")

    assert await ids(database, AuditFilter(device=MDN)) == [by_number, by_imei]
    assert await ids(database, AuditFilter(device=IMEI)) == [by_number, by_imei]


@pytest.mark.usefixtures("_sessions")
async def test_every_filter_holds_for_the_rows_of_a_device(database: Database) -> None:
    await note(database, NOW, device=IMEI, key="another")
    await note(database, NOW - timedelta(days=9), device=IMEI)
    wanted = await note(database, NOW - timedelta(days=2), session=SESSION)
    since, until = NOW - timedelta(days=3), NOW - timedelta(days=1)

    assert await ids(database, AuditFilter(device=IMEI, key_id="k", since=since, until=until)) == [wanted]
