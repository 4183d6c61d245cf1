"""Callbacks with a simple fix travel in rows of their own: what is kept of them is the same."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from app.model import AccountName, Mdn, SimpleFix, TransactionId
from app.storage.database import Database
from app.storage.rows import NewSimpleFix, to_simple_fix_row
from app.storage.writer import Entry, Writer
from tests.support.counting import counting
from tests.support.reports import ACCOUNT, IMEI, MDN, in_full, located

NOON_S = 1_772_452_800
RECEIVED_MS = NOON_S * 1000 + 2412
SESSION = "00000000-0000-0000-0000-000000000001"
KEPT = (
    "SELECT * FROM reports ORDER BY at, id",
    "SELECT * FROM callbacks ORDER BY id",
    "SELECT * FROM positions ORDER BY device",
    "SELECT * FROM session_devices ORDER BY device",
    "SELECT device, mdn, device_kind FROM account_aliases ORDER BY device",
)


def simple_fix(number: int = 0, **row: Any) -> NewSimpleFix:
    """Make the row of a callback that was sent so many seconds before noon."""
    report = SimpleFix(
        content_key=b"simple %d" % number,
        account=AccountName(ACCOUNT),
        transaction_id=TransactionId("t-1"),
        device_id=IMEI,
        device_kind="imei",
        mdn=Mdn(MDN),
        said_at_s=NOON_S - number,
        latitude_deg=42.09551,
        longitude_deg=-71.26483,
        accuracy_m=35.0,
        source="network",
        cached=False,
        vendor_type="LOCATION_REPORT",
    )
    made = to_simple_fix_row(
        report,
        b'{"raw": 1}',
        provider="thingspace",
        service="DeviceLocation",
        signature="valid",
        received_ms=RECEIVED_MS,
    )
    for name, value in row.items():
        setattr(made, name, value)
    return made


def in_full_entry(row: NewSimpleFix) -> Entry:
    """Make the entry that says the same without such a row."""
    report, callback = in_full(row)
    return Entry(reports=(report,), callback=callback, body=row.body)


async def kept(database: Database) -> list[list[Any]]:
    """Read everything that callbacks leave behind."""
    async with database.transaction() as session:
        return [[tuple(row) for row in await session.execute(text(statement))] for statement in KEPT]


async def begin_session(database: Database, ended_at: str | None) -> None:
    statements = (
        """INSERT INTO sessions (
            id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at, ended_at
        ) VALUES (
            :id, 'thingspace', :account, 'active', 60, 0, 0, 1, now(), CAST(CAST(:ended_at AS text) AS timestamptz)
        )""",
        "INSERT INTO session_devices (session_id, device) VALUES (:id, :device)",
        "INSERT INTO session_transactions (transaction_id, session_id, kind) VALUES ('t-1', :id, 'start')",
    )
    given = {"id": SESSION, "account": ACCOUNT, "ended_at": ended_at, "device": IMEI}
    async with database.transaction() as session:
        for statement in statements:
            await session.execute(text(statement), given)


async def store(database: Database, entries: Sequence[Entry]) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await asyncio.gather(*(writer.submit(entry) for entry in entries))


@pytest.mark.parametrize("ended_at", [None, "2026-03-02 11:00+00"], ids=["under way", "ended"])
async def test_a_simple_fix_leaves_the_same_behind_as_in_full(database: Database, ended_at: str | None) -> None:
    rows = [simple_fix(number) for number in range(3)]
    await begin_session(database, ended_at)
    await store(database, [Entry(simple_fix=row) for row in rows])
    short = await kept(database)

    async with database.transaction() as session:
        await session.execute(text("TRUNCATE reports, callbacks, positions, account_aliases, sessions CASCADE"))
    await begin_session(database, ended_at)
    await store(database, [in_full_entry(row) for row in rows])

    assert all(short)
    assert short == await kept(database)


async def test_both_kinds_share_a_commit(database: Database) -> None:
    statements: list[int] = []
    entries = [Entry(simple_fix=simple_fix(1)), Entry(reports=(located(),)), Entry(simple_fix=simple_fix(2))]

    async with Writer(counting(database, statements)).running() as writer:
        await asyncio.gather(*(writer.submit(entry) for entry in entries))

    reports, callbacks, *_ = await kept(database)
    assert (len(reports), len(callbacks), len(statements)) == (3, 2, 1)


@pytest.mark.parametrize(
    ("expected_s", "statements"), [(60, [10, 3, 3, 3, 3, 3, 3]), (0, [10, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3])]
)
async def test_what_comes_twice_is_looked_for_for_a_while(
    database: Database, expected_s: float, statements: list[int]
) -> None:
    counted: list[int] = []
    async with Writer(counting(database, counted), repetitions_expected_s=expected_s).running() as writer:
        await asyncio.gather(*(writer.submit(Entry(simple_fix=simple_fix(number))) for number in range(10)))
        for _ in range(5):
            again = [Entry(simple_fix=simple_fix(number)) for number in (3, 3, 20)]
            await asyncio.gather(*(writer.submit(entry) for entry in again))

    reports, callbacks, *_ = await kept(database)
    assert (len(reports), len(callbacks)) == (11, 25)
    # Where nothing is looked for, the batch fails first, and is stored with the second try.
    assert counted == statements


async def test_writers_that_store_the_same_at_once_store_it_once(database: Database) -> None:
    rows = [simple_fix(number) for number in range(200)]

    async with (
        Writer(database.connect, pending=database.pending, batch_limit=20).running() as one,
        Writer(database.connect, pending=database.pending, batch_limit=20).running() as other,
    ):
        for start in range(0, 200, 20):
            again = [simple_fix(number) for number in reversed(range(start, start + 20))]
            mixed = [Entry(simple_fix=row) for row in again[:10]] + [in_full_entry(row) for row in again[10:]]
            first = [one.submit(Entry(simple_fix=row)) for row in rows[start : start + 20]]
            await asyncio.gather(*first, *(other.submit(entry) for entry in mixed))

    reports, callbacks, *_ = await kept(database)
    assert (len(reports), len(callbacks)) == (200, 400)


async def test_what_the_database_cannot_take_is_quarantined(database: Database) -> None:
    poisoned = simple_fix(1, transaction_id="a\x00b")

    await store(database, [Entry(simple_fix=row) for row in (simple_fix(0), poisoned, simple_fix(2))])

    reports, callbacks, *_ = await kept(database)
    assert len(reports) == 2
    assert sorted(callback.count("quarantined") for callback in callbacks) == [0, 0, 1]
