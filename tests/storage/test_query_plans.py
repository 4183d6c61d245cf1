"""The hot queries keep their indexes, whatever else changes."""

import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from postgres import DatabaseServer, in_thread
from reports import NOON, generate
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage import partitions, reports
from app.storage.database import Connection, Database
from app.storage.reports import Box, Holder, Place, ReportFilter

REPORTS = 40_000
IMEI = "990001000000117"
MDN = "5085550117"
DEEP = Place(NOON - timedelta(days=2), UUID(int=5))

POSITIONS = """
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
SELECT 'account', (990001000000000 + n)::text, at, id, provider, (5085550000 + n)::text, n % 180 - 90, n % 360 - 180
FROM generate_series(0, 19999) AS n
CROSS JOIN (SELECT at, id, provider FROM reports WHERE device = '990001000000117' LIMIT 1) AS one
"""
ALIASES = """
INSERT INTO aliases (device, mdn, device_kind, learned_at)
SELECT (990001000000000 + n)::text, (5085550000 + n)::text, 'imei', now() FROM generate_series(0, 19999) AS n
"""
FAMILIES = """
SELECT child.relname, parent.relname
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid JOIN pg_class AS parent ON parent.oid = inhparent
"""

Query = Callable[[AsyncSession], Awaitable[object]]


@pytest.fixture(scope="module")
def filled_url(database_server: DatabaseServer, template_url: str) -> Iterator[str]:
    url = database_server.create(template_url)
    in_thread(fill(url))
    yield url
    database_server.drop(url)


async def fill(url: str) -> None:
    database = Database(url)
    connection = await database.connect()
    for days in (0, 4):
        await partitions.keep_ready(connection, NOON - timedelta(days=days))
    await generate(database, REPORTS)
    for statement in (POSITIONS, ALIASES, "ANALYZE"):
        await connection.execute(statement)
    await connection.close()
    await database.aclose()


async def plans(url: str, query: Query) -> list[dict[str, Any]]:
    """List the nodes of the plans of every statement that the query sends, indexes and tables named as a whole."""
    database = Database(url)
    sent: list[tuple[str, Any]] = []

    @event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        sent.append((statement, parameters))

    async with database.session() as session:
        await query(session)
    connection = await database.connect()
    families = dict(await connection.fetch(FAMILIES))
    nodes = [node for one in sent if "reports" in one[0] for node in await _explained(connection, *one)]
    await connection.close()
    await database.aclose()
    for node in nodes:
        node["Partition"] = node.get("Relation Name")
        for name in ("Index Name", "Relation Name"):
            node[name] = families.get(node.get(name, ""), node.get(name))
    return nodes


async def _explained(connection: Connection, statement: str, parameters: Any) -> list[dict[str, Any]]:
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    return list(_nodes(json.loads(explained)[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if node["Index Name"]}


def read_without_index(nodes: list[dict[str, Any]]) -> set[str]:
    # Partitions of days to come are empty, and empty tables need no index.
    empty = ("reports_20260303", "reports_20260304", "reports_20260305", "reports_default")
    return {node["Partition"] for node in nodes if node["Node Type"] == "Seq Scan" and node["Partition"] not in empty}


@pytest.mark.parametrize("after", [None, DEEP], ids=["first", "deep"])
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        pytest.param(ReportFilter(transaction_id="t-7"), "ix_reports_transaction", id="transaction"),
        pytest.param(ReportFilter(device_id=IMEI), "ix_reports_device", id="imei"),
        pytest.param(ReportFilter(mdn=MDN), "ix_reports_device", id="mdn"),
        pytest.param(ReportFilter(device_id=IMEI, status="failed"), "ix_reports_device", id="imei and status"),
        pytest.param(ReportFilter(), "pk_reports", id="everything"),
        pytest.param(
            ReportFilter(since=NOON - timedelta(days=4), until=NOON - timedelta(hours=1)), "pk_reports", id="window"
        ),
        pytest.param(
            ReportFilter(box=Box(west_deg=-71, south_deg=40, east_deg=-70.9, north_deg=40.1)), "pk_reports", id="box"
        ),
        pytest.param(ReportFilter(account="another"), "pk_reports", id="account"),
    ],
)
async def test_a_page_is_read_along_its_index(
    filled_url: str, wanted: ReportFilter, index: str, after: Place | None
) -> None:
    nodes = await plans(filled_url, lambda session: reports.page(session, wanted, after=after, most_scanned=1000))

    assert indexes(nodes) == {index}
    assert read_without_index(nodes) == set()


@pytest.mark.parametrize(
    "wanted", [ReportFilter(), ReportFilter(transaction_id="t-7")], ids=["everything", "transaction"]
)
async def test_a_page_needs_no_sorting(filled_url: str, wanted: ReportFilter) -> None:
    nodes = await plans(filled_url, lambda session: reports.page(session, wanted))

    assert "Sort" not in {node["Node Type"] for node in nodes}


async def test_a_time_window_leaves_other_days_alone(filled_url: str) -> None:
    day = ReportFilter(since=NOON - timedelta(days=1), until=NOON - timedelta(hours=20))

    nodes = await plans(filled_url, lambda session: reports.page(session, day))

    assert {node["Partition"] for node in nodes} - {None} == {"reports_20260301"}


async def test_a_report_is_looked_up_in_its_own_day(filled_url: str) -> None:
    database = Database(filled_url)
    async with database.session() as session:
        report = (await reports.page(session, ReportFilter(), after=DEEP, limit=1)).reports[0]
    await database.aclose()

    nodes = await plans(filled_url, lambda session: reports.find(session, report.id))

    assert {node["Partition"] for node in nodes} == {"reports_20260228"}
    assert indexes(nodes) == {"pk_reports"}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda session: reports.latest_of_device(session, IMEI), id="imei"),
        pytest.param(lambda session: reports.latest_of_mdn(session, MDN, NOON), id="mdn"),
    ],
)
async def test_the_latest_position_is_looked_up_by_keys(filled_url: str, query: Query) -> None:
    nodes = await plans(filled_url, query)

    assert indexes(nodes) == {"pk_positions", "pk_reports"}
    assert read_without_index(nodes) == set()


async def test_positions_in_a_box_are_found_by_the_spatial_index(filled_url: str) -> None:
    box = Box(west_deg=-71, south_deg=40, east_deg=-69, north_deg=42)

    nodes = await plans(filled_url, lambda session: reports.positions_page(session, box=box))

    assert indexes(nodes) == {"ix_positions_point", "pk_reports"}


async def test_positions_across_the_antimeridian_are_found_by_the_spatial_index(filled_url: str) -> None:
    box = Box(west_deg=179, south_deg=40, east_deg=-179, north_deg=42)

    nodes = await plans(filled_url, lambda session: reports.positions_page(session, box=box))

    assert indexes(nodes) == {"ix_positions_point", "pk_reports"}


async def test_positions_are_listed_along_the_primary_key(filled_url: str) -> None:
    after = Holder("account", IMEI)

    nodes = await plans(filled_url, lambda session: reports.positions_page(session, after=after))

    assert indexes(nodes) == {"pk_positions", "pk_reports"}
    assert "Sort" not in {node["Node Type"] for node in nodes}
