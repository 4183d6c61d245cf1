"""The hot queries keep their indexes, whatever else changes."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from app.identifiers import readings
from app.storage import partitions, reports
from app.storage.database import Database
from app.storage.reports import Box, Holder, ReportCursor, ReportFilter, statements
from tests.support.plans import FOR_THESE, Query, indexes, plans, read_without_index, tables
from tests.support.postgres import DatabaseServer, in_thread
from tests.support.reports import NOON, generate

REPORTS = 40_000
IMEI = "990001000000117"
MDN = "5085550117"
DEEP = ReportCursor(NOON - timedelta(days=2), UUID(int=5))

POSITIONS = """
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
SELECT 'account', (990001000000000 + n)::text, at, id, provider, (5085550000 + n)::text, n % 180 - 90, n % 360 - 180
FROM generate_series(0, 19999) AS n
CROSS JOIN (SELECT at, id, provider FROM reports WHERE device = '990001000000117' LIMIT 1) AS one
"""
ALIASES = """
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
SELECT (990001000000000 + n)::text, (5085550000 + n)::text, 'account', 'imei', now() FROM generate_series(0, 19999) AS n
"""


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
        pytest.param(ReportFilter(name="pump-0417"), "ix_reports_name", id="name"),
        pytest.param(ReportFilter(flag="late"), "ix_reports_flagged", id="flag"),
        pytest.param(ReportFilter(oldest_first=True), "pk_reports", id="oldest first"),
        pytest.param(ReportFilter(device_id=IMEI, oldest_first=True), "ix_reports_device", id="imei, oldest first"),
    ],
)
async def test_a_page_is_read_along_its_index(
    filled_url: str, wanted: ReportFilter, index: str, after: ReportCursor | None
) -> None:
    nodes = await plans(filled_url, lambda database: reports.page(database, wanted, after=after, most_scanned=1000))

    assert indexes(nodes) == {index}
    assert read_without_index(nodes) == set()


@pytest.mark.parametrize(
    "wanted",
    [
        ReportFilter(received_since=NOON - timedelta(hours=1)),
        ReportFilter(received_until=NOON - timedelta(days=1), account="another"),
        ReportFilter(received_since=NOON - timedelta(days=2), received_until=NOON - timedelta(days=1)),
    ],
    ids=["since", "until", "span"],
)
async def test_arrivals_are_read_along_the_time_of_the_fix_and_untimely_ones_along_their_own_index(
    filled_url: str, wanted: ReportFilter
) -> None:
    nodes = await plans(filled_url, lambda database: reports.page(database, wanted, most_scanned=1000))

    assert indexes(nodes) == {"pk_reports", "ix_reports_untimely"}
    assert read_without_index(nodes) == set()


async def test_recent_arrivals_leave_other_days_alone_but_for_untimely_ones(filled_url: str) -> None:
    recent = ReportFilter(received_since=NOON - timedelta(hours=1))

    nodes = await plans(filled_url, lambda database: reports.page(database, recent), kinds=[FOR_THESE])

    read = tables([node for node in nodes if node["Index"] != "ix_reports_untimely"])
    assert read - {"reports_default"} == {f"reports_2026030{day}" for day in (2, 3, 4, 5)}


async def test_an_export_of_arrivals_sorts_untimely_ones_alone(filled_url: str) -> None:
    wanted = ReportFilter(received_since=NOON - timedelta(days=2), received_until=NOON - timedelta(days=1))

    nodes = await plans(filled_url, lambda database: database.fetch(*statements.everything(wanted)))

    assert indexes(nodes) == {"pk_reports", "ix_reports_untimely"}
    assert {node["Node Type"] for node in nodes} >= {"Merge Append"}


@pytest.mark.parametrize(
    "wanted", [ReportFilter(), ReportFilter(transaction_id="t-7")], ids=["everything", "transaction"]
)
async def test_a_page_needs_no_sorting(filled_url: str, wanted: ReportFilter) -> None:
    nodes = await plans(filled_url, lambda database: reports.page(database, wanted))

    assert "Sort" not in {node["Node Type"] for node in nodes}


async def test_a_time_window_leaves_other_days_alone(filled_url: str) -> None:
    day = ReportFilter(since=NOON - timedelta(days=1), until=NOON - timedelta(hours=20))

    nodes = await plans(filled_url, lambda database: reports.page(database, day), kinds=[FOR_THESE])

    assert tables(nodes) == {"reports_20260301"}


async def test_a_report_is_looked_up_in_its_own_day(filled_url: str) -> None:
    database = Database(filled_url)
    report = (await reports.page(database, ReportFilter(), after=DEEP, limit=1)).reports[0]
    await database.aclose()

    nodes = await plans(filled_url, lambda database: reports.find(database, report.id), kinds=[FOR_THESE])

    assert tables(nodes) == {"reports_20260228"}
    assert indexes(nodes) == {"pk_reports"}


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda database: reports.latest_of_device(database, readings(IMEI)), id="imei"),
        pytest.param(lambda database: reports.latest_of_mdn(database, MDN, NOON), id="mdn"),
    ],
)
async def test_the_latest_position_is_looked_up_by_keys(filled_url: str, query: Query) -> None:
    nodes = await plans(filled_url, query)

    assert indexes(nodes) == {"pk_positions", "pk_reports"}
    assert read_without_index(nodes) == set()


async def test_positions_in_a_box_are_found_by_the_spatial_index(filled_url: str) -> None:
    box = Box(west_deg=-71, south_deg=40, east_deg=-69, north_deg=42)

    nodes = await plans(filled_url, lambda database: reports.positions_page(database, box=box))

    assert indexes(nodes) == {"ix_positions_tile", "pk_reports"}


async def test_positions_across_the_antimeridian_are_found_by_the_spatial_index(filled_url: str) -> None:
    box = Box(west_deg=179, south_deg=40, east_deg=-179, north_deg=42)

    nodes = await plans(filled_url, lambda database: reports.positions_page(database, box=box))

    assert indexes(nodes) == {"ix_positions_tile", "pk_reports"}


async def test_positions_are_listed_along_the_primary_key(filled_url: str) -> None:
    after = Holder("account", IMEI)

    nodes = await plans(filled_url, lambda database: reports.positions_page(database, after=after))

    assert indexes(nodes) == {"pk_positions", "pk_reports"}
    assert "Sort" not in {node["Node Type"] for node in nodes}
