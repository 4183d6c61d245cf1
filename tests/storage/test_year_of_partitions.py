"""What is read often keeps its indexes, and opens few partitions, at a year of them."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from sqlalchemy import event

from app.embedded_postgres import EmbeddedPostgres
from app.identifiers import readings
from app.storage import audit_pages, reports, session_views
from app.storage.audit import AuditFilter
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.reports import Holder, ReportCursor, ReportFilter, statements
from app.storage.sessions import SessionClock
from tests.support.plans import FOR_THESE, Query, indexes, plans, read_without_index, tables
from tests.support.postgres import DatabaseServer, in_thread
from tests.support.reports import IMEI
from tests.support.years import make_year, year_of_spans

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
READERS = 100
MOST_PARTITIONS = 45
MOST_LOCKS = 400
SESSION_DEVICES = """
WITH session AS (
    INSERT INTO sessions (id, provider, account, state, interval_s, count, start_delay_s, max_age_s, devices_total,
        created_at)
    VALUES (gen_random_uuid(), 'thingspace', 'a', 'active', 300, 6, 0, 120, 2000, now()) RETURNING id
)
INSERT INTO session_devices (session_id, device)
SELECT id, (990001123450000 + n)::text FROM session CROSS JOIN generate_series(1, 2000) AS n
"""


@pytest.fixture(scope="module")
def year_url(database_server: DatabaseServer, template_url: str) -> Iterator[str]:
    url = database_server.create(template_url)
    in_thread(fill(url))
    yield url
    database_server.drop(url)


async def fill(url: str) -> None:
    database = Database(url)
    async with database.connection() as connection:
        await make_year(connection)
        await connection.execute(SESSION_DEVICES)
        await connection.execute("ANALYZE session_devices")
    await database.aclose()


def test_a_year_is_few_partitions_whatever_the_day() -> None:
    for day in range(0, 366, 5):
        assert len(year_of_spans(NOW + timedelta(days=day))) < MOST_PARTITIONS


@pytest.mark.parametrize(
    ("query", "index"),
    [
        pytest.param(
            lambda database: audit_pages.page(database, AuditFilter(device=IMEI), 101),
            {"pk_audit", "ix_audit_device", "ix_audit_session", "ix_session_devices_device"},
            id="audit of a device",
        ),
        pytest.param(
            lambda database: audit_pages.page(database, AuditFilter(key_id="key"), 101), {"ix_audit_key"}, id="audit"
        ),
        pytest.param(
            lambda database: audit_pages.page(database, AuditFilter(action="key.create"), 101),
            {"pk_audit"},
            id="audit of an action",
        ),
        pytest.param(
            lambda database: reports.page(database, ReportFilter(device_id=IMEI)),
            {"ix_reports_device"},
            id="reports of a device",
        ),
        pytest.param(
            lambda database: reports.page(database, ReportFilter(transaction_id="t")),
            {"ix_reports_transaction"},
            id="reports of a transaction",
        ),
        pytest.param(
            lambda database: reports.latest_of_device(database, readings(IMEI)),
            {"pk_positions", "pk_reports"},
            id="latest position",
        ),
        pytest.param(
            lambda database: reports.positions_page(database, after=Holder("a", IMEI), limit=1000),
            {"pk_positions", "pk_reports"},
            id="positions",
        ),
    ],
)
async def test_reading_goes_along_indexes(year_url: str, query: Query, index: set[str]) -> None:
    nodes = await plans(year_url, query)

    assert indexes(nodes) == index
    assert read_without_index(nodes) == set()


@pytest.mark.parametrize("after", [None, ReportCursor(NOW - timedelta(days=200), UUID(int=5))], ids=["first", "deep"])
async def test_a_page_begins_with_few_partitions(year_url: str, after: ReportCursor | None) -> None:
    since = (after.at if after else NOW) - timedelta(days=7)
    nearby = ReportFilter(since=since, until=after.at if after else NOW)

    nodes = await plans(
        year_url, lambda database: database.fetch(*statements.page(nearby, after, 101)), kinds=[FOR_THESE]
    )

    assert len(tables(nodes)) <= 9


async def test_a_read_over_all_days_takes_few_locks(year_url: str) -> None:
    database = Database(year_url)
    async with database.connection() as connection, connection.transaction():
        await connection.fetch("SELECT * FROM reports ORDER BY at DESC, id DESC LIMIT 10")
        locks = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
    await database.aclose()

    assert locks <= MOST_LOCKS


async def test_lists_and_metrics_of_sessions_read_none_of_their_devices(year_url: str) -> None:
    database = Database(year_url)
    clock = SessionClock(now=NOW, grace_s=30, call_limit=timedelta(minutes=1))
    read: list[str] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        read.append(statement)

    async with database.transaction() as db:
        views = await session_views.page(db, clock, state=None, account=None, before=None, limit=10)
        missing = await session_views.missing_of_open(db, clock)
    await database.aclose()

    assert [view.row.devices_total for view in views] == [2000]
    assert missing == 0
    assert not [statement for statement in read if "session_devices" in statement]


async def test_a_hundred_reads_over_all_days_find_room_with_the_settings_of_compose(
    durable_postgres: Callable[..., EmbeddedPostgres],
) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    options = dict(part.removeprefix("--").split("=") for part in compose["services"]["postgres"]["command"][1:])
    wanted = {name: options[name] for name in ("max_connections", "max_locks_per_transaction")}
    server = durable_postgres(settings=wanted, fsync=False)
    await upgrade(server.url)
    database = Database(server.url)
    async with database.connection() as connection:
        await make_year(connection)
    all_have_read = asyncio.Barrier(READERS)

    async def read() -> None:
        async with database.connection() as connection, connection.transaction():
            await connection.fetch("SELECT * FROM reports ORDER BY at DESC, id DESC LIMIT 10")
            await all_have_read.wait()

    async with asyncio.timeout(120):
        await asyncio.gather(*(read() for _ in range(READERS)))
    await database.aclose()
