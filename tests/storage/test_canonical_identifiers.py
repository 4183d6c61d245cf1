"""What earlier releases stored under identifiers as they came is found under the canonical ones after the migration."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.settings import ThingSpaceSettings
from app.storage.connections import Connector
from app.storage.migrate import upgrade
from app.storage.rows import content_hash, report_id_of_hash, to_row

BEFORE = "0007"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ACCOUNT = "0844559123-00001"
IMEI = "990001123456782"
MEID = "A10000EE77FF88"
MDN = "5085550101"
SESSION = UUID(int=7)
ADD_REPORT = """
INSERT INTO reports (
    at, id, provider, type, status, account, transaction_id, session_id, device, device_kind, mdn, latitude, longitude,
    received_at
) VALUES (
    :at, :id, 'thingspace', 'location', 'located', :account, 't-1', :session, :device, :kind, :mdn, :latitude,
    :longitude, :at
)
"""
ADD_POSITION = """
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
VALUES (:account, :device, :at, :id, 'thingspace', :mdn, :latitude, :longitude)
ON CONFLICT (account, device) DO UPDATE SET at = excluded.at, report_id = excluded.report_id
"""
OTHER_ROWS = f"""
INSERT INTO sessions
    (id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at)
VALUES ('{SESSION}', 'thingspace', '{ACCOUNT}', 'active', 60, 0, 120, 1, now());
INSERT INTO session_devices (session_id, device) VALUES ('{SESSION}', '99000112345678');
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at) VALUES
    ('a10000ee77ff88', '{MDN}', '{ACCOUNT}', 'meid', now()), ('9.90001E+14', '{MDN}', '{ACCOUNT}', 'imei', now()),
    ('{IMEI}', '508', '{ACCOUNT}', 'imei', now());
INSERT INTO audit (at, id, key_id, request_id, action, outcome, device)
VALUES (now(), gen_random_uuid(), 'k', 'r', 'locate', 'located', '9900011234567801')
"""  # noqa: S608 -- our own constants


@pytest.fixture
async def before(empty_database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to a database of the release before."""
    await upgrade(empty_database_url, BEFORE)
    engine = Connector(empty_database_url).create_engine(poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def add(connection: AsyncConnection, device: str, kind: str | None, mdn: str | None = MDN, **row: Any) -> UUID:
    """Store a located report and its position, as the release before did; return the report's id."""
    at = row.pop("at", AT)
    said = [ACCOUNT, "t-1", "location", device, str(int(at.timestamp())), "42.1", "-71.3"]
    key = json.dumps(said, separators=(",", ":"))
    id_ = UUID(hex=report_id_of_hash(at, content_hash(key)))
    values = {
        "at": at,
        "id": id_,
        "account": ACCOUNT,
        "device": device,
        "kind": kind,
        "mdn": mdn,
        "session": row.get("session"),
        "latitude": 42.1,
        "longitude": -71.3,
    }
    await connection.execute(text(ADD_REPORT), values)
    await connection.execute(text(ADD_POSITION), values)
    return id_


async def rows(connection: AsyncConnection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.execute(text(query))]


def again(device: str, kind: str) -> UUID:
    """Read the same callback with the present release, and derive its report's id."""
    position = {"time": f"{AT:%Y%m%d%H%M%S}", "x": "42.1", "y": "-71.3", "radius": "35", "locationType": "1"}
    body = {
        "accountName": ACCOUNT,
        "deviceList": [{"id": device, "kind": kind, "mdn": MDN, "positionData": position}],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": "t-1",
    }
    [report] = ThingSpaceCallbacks(ThingSpaceSettings(_env_file=None)).read(json.dumps(body).encode())
    return UUID(hex=to_row(report, received_at=AT).id)


@pytest.mark.parametrize(
    ("device", "kind", "canonical"),
    [
        pytest.param("a10000ee77ff88", "meid", MEID, id="MEID in lower case"),
        pytest.param("8021ab4f", "esn", "8021AB4F", id="ESN in lower case"),
        pytest.param("99-000112-345678-2", "imei", IMEI, id="IMEI with separators"),
        pytest.param("99000112345678", "imei", IMEI, id="IMEI of 14 digits"),
        pytest.param("9900011234567801", "imei", IMEI, id="IMEI of 16 digits"),
    ],
)
async def test_a_device_gets_its_canonical_identifier(
    before: AsyncConnection, empty_database_url: str, device: str, kind: str, canonical: str
) -> None:
    await add(before, device, kind)

    await upgrade(empty_database_url)

    new_id = again(device, kind)
    assert await rows(before, "SELECT id, device, device_kind, mdn, flags FROM reports") == [
        (new_id, canonical, kind, MDN, None)
    ]
    assert await rows(before, "SELECT device, report_id FROM positions") == [(canonical, new_id)]


async def test_a_report_that_was_stored_in_three_spellings_is_one(
    before: AsyncConnection, empty_database_url: str
) -> None:
    for spelling in ("a10000ee77ff88", "A1-0000-EE77FF88", MEID):
        await add(before, spelling, "meid")

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT id, device FROM reports") == [(again(MEID, "meid"), MEID)]
    assert await rows(before, "SELECT report_id, device FROM positions") == [(again(MEID, "meid"), MEID)]


async def test_the_latest_position_of_all_spellings_stays(before: AsyncConnection, empty_database_url: str) -> None:
    later = AT + timedelta(minutes=5)
    await add(before, MEID, "meid")
    await add(before, "a10000ee77ff88", "meid", at=later)

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT device, at FROM positions") == [(MEID, later)]


async def test_what_is_no_identifier_is_none_any_more(before: AsyncConnection, empty_database_url: str) -> None:
    id_ = await add(before, "9.90001E+14", "imei")

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT id, device, device_kind, mdn, flags FROM reports") == [
        (id_, f"mdn:{MDN}", None, MDN, ["identifier_unreadable"])
    ]
    assert await rows(before, "SELECT device FROM positions") == [(f"mdn:{MDN}",)]


async def test_what_is_no_number_is_none_any_more(before: AsyncConnection, empty_database_url: str) -> None:
    await add(before, IMEI, "imei", "@SUM11*cmd|'/Ccalc'!A0")
    await add(before, "mdn:@SUM", None, "@SUM", at=AT + timedelta(seconds=1))

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT device, device_kind, mdn, flags FROM reports ORDER BY at") == [
        (IMEI, "imei", None, ["identifier_unreadable"]),
        ("", None, None, ["identifier_unreadable"]),
    ]
    assert await rows(before, "SELECT device, mdn FROM positions") == [(IMEI, None)]


async def test_what_is_canonical_stays_as_it_is(before: AsyncConnection, empty_database_url: str) -> None:
    known = [(IMEI, "imei"), ("990001123456789", "imei"), (MEID, "meid"), ("12345678901", "esn"), (f"mdn:{MDN}", None)]
    for seconds, (device, kind) in enumerate(known):
        await add(before, device, kind, at=AT + timedelta(seconds=seconds))
    query = "SELECT xmin::text, reports.* FROM reports ORDER BY at"
    stored = await rows(before, query)

    await upgrade(empty_database_url, "0008")

    assert await rows(before, query) == stored


async def test_more_reports_than_one_step_takes_are_all_moved(before: AsyncConnection, empty_database_url: str) -> None:
    for seconds in range(1100):
        await add(before, "a10000ee77ff88", "meid", at=AT + timedelta(seconds=seconds))

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT device, count(*) FROM reports GROUP BY device") == [(MEID, 1100)]


async def test_sessions_the_alias_book_and_the_audit_trail_follow(
    before: AsyncConnection, empty_database_url: str
) -> None:
    for statement in OTHER_ROWS.split(";"):
        await before.execute(text(statement))
    id_ = await add(before, "99000112345678", "imei", session=SESSION)
    await before.execute(text("UPDATE session_devices SET last_report_id = :id"), {"id": id_})

    await upgrade(empty_database_url)

    assert await rows(before, "SELECT device, last_report_id FROM session_devices") == [(IMEI, again(IMEI, "imei"))]
    assert await rows(before, "SELECT device, mdn FROM account_aliases") == [(MEID, MDN)]
    assert await rows(before, "SELECT device FROM audit") == [(IMEI,)]
