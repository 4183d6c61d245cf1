"""What earlier releases believed, and cannot be, answers nothing after the migration."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from app.storage.connections import Connector
from app.storage.migrate import upgrade
from app.storage.rows import content_hash, report_id_of_hash

BEFORE, AFTER = "0010", "0011"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = AT - timedelta(hours=1)
DEVICE = "990001123456782"
SESSION = UUID(int=7)
SESSIONS = f"""
INSERT INTO sessions (id, provider, account, state, interval_s, start_delay_s, max_age_s, devices_total, created_at)
VALUES ('{SESSION}', 'thingspace', 'a-1', 'active', 60, 0, 120, 1, now());
INSERT INTO session_devices (session_id, device) VALUES ('{SESSION}', '{DEVICE}')
"""  # noqa: S608 -- our own constants
REPORT = """
INSERT INTO reports (
    at, id, provider, type, status, account, session_id, device, device_kind, latitude, longitude, error_type, flags,
    received_at
) VALUES (
    :at, :id, 'thingspace', 'location', 'located', 'a-1', :session, :device, 'imei', :latitude, :longitude,
    :error_type, :flags, :received_at
)
"""
FOLLOWED = (
    """
    INSERT INTO positions (account, device, at, report_id, provider, latitude, longitude)
    VALUES ('a-1', :device, :at, :id, 'thingspace', :latitude, :longitude)
    ON CONFLICT (account, device) DO UPDATE SET at = excluded.at, report_id = excluded.report_id
    """,
    "UPDATE session_devices SET last_at = :at, last_report_id = :id WHERE device = :device",
)


@pytest.fixture
async def before(empty_database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to a database of the release before."""
    await upgrade(empty_database_url, BEFORE)
    engine = Connector(empty_database_url).create_engine(poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in SESSIONS.split(";"):
            await connection.execute(text(statement))
        yield connection
    await engine.dispose()


async def add(connection: AsyncConnection, at: datetime, **columns: Any) -> UUID:
    """Store a report, its position and the last fix of its session, as the release before did."""
    digits = content_hash(f"{at}{columns}")
    id_ = UUID(hex=report_id_of_hash(at, digits))
    if columns.pop("undated", False):
        undated = text("INSERT INTO undated_reports (content_hash, at) VALUES (:hash, :at)")
        await connection.execute(undated, {"hash": UUID(hex=digits), "at": at})
    given = {"device": DEVICE, "latitude": 42.1, "longitude": -71.3, "error_type": None, "flags": None}
    values = given | {"at": at, "id": id_, "received_at": at, "session": SESSION} | columns
    followed = {name: values[name] for name in ("at", "id", "device", "latitude", "longitude")}
    await connection.execute(text(REPORT), values)
    await connection.execute(text(FOLLOWED[0]), followed)
    await connection.execute(text(FOLLOWED[1]), {name: values[name] for name in ("at", "id", "device")})
    return id_


async def scalars(connection: AsyncConnection, query: str) -> list[Any]:
    return list(await connection.scalars(text(query)))


DOUBTFUL = [
    pytest.param({"latitude": 0.0, "longitude": 0.0}, ["zero_island"], id="zeros"),
    pytest.param({"error_type": "POSITION METHOD FAILURE"}, ["error_beside_position"], id="error"),
    pytest.param({"received_at": AT - timedelta(hours=20)}, ["future_time"], id="future"),
    pytest.param({"undated": True}, ["time_unreadable"], id="undated"),
    pytest.param({"flags": ["odd"], "undated": True}, ["odd", "time_unreadable"], id="flagged before"),
    pytest.param({"flags": ["time_unreadable"], "undated": True}, ["time_unreadable"], id="known"),
]


@pytest.mark.parametrize(("columns", "flags"), DOUBTFUL)
async def test_a_doubtful_fix_gives_way_to_the_newest_that_may_be_believed(
    empty_database_url: str, before: AsyncConnection, columns: dict[str, Any], flags: list[str]
) -> None:
    believed = await add(before, EARLIER)
    await add(before, EARLIER - timedelta(hours=1))
    doubtful = await add(before, AT, **columns)

    for _ in range(2):
        await upgrade(empty_database_url, AFTER)
        assert await scalars(before, "SELECT report_id FROM positions") == [believed]
        assert await scalars(before, "SELECT last_report_id FROM session_devices") == [believed]
        assert await scalars(before, f"SELECT flags FROM reports WHERE id = '{doubtful}'") == [flags]  # noqa: S608 -- ours
        await before.execute(text(f"UPDATE alembic_version SET version_num = '{BEFORE}'"))  # noqa: S608 -- ours


@pytest.mark.parametrize(("columns", "flags"), DOUBTFUL)
async def test_a_device_with_doubtful_fixes_alone_has_no_position(
    empty_database_url: str, before: AsyncConnection, columns: dict[str, Any], flags: list[str]
) -> None:
    await add(before, AT, **columns)

    await upgrade(empty_database_url, AFTER)

    assert await scalars(before, "SELECT report_id FROM positions") == []
    assert await scalars(before, "SELECT last_at FROM session_devices") == [None]
    assert await scalars(before, "SELECT flags FROM reports") == [flags]


async def test_what_may_be_believed_stays(empty_database_url: str, before: AsyncConnection) -> None:
    id_ = await add(before, AT, latitude=0.0, flags=["axes_probably_swapped", "late"])

    await upgrade(empty_database_url, AFTER)

    assert await scalars(before, "SELECT report_id FROM positions") == [id_]
    assert await scalars(before, "SELECT last_report_id FROM session_devices") == [id_]
    assert await scalars(before, "SELECT flags FROM reports") == [["axes_swapped_suspected", "late"]]
