"""Reports by their arrival, by name and by flag, in both orders: in pages and as exports."""

import itertools
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from app.storage import reports
from app.storage.database import Database
from app.storage.reports import ReportCursor, ReportFilter, ReportRecord
from app.storage.rows import NewReport
from tests.support.reports import ACCOUNT, NOON, located, minutes, store

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SPAN = {"received_since": NOON, "received_until": NOON + HOUR}
_callbacks = itertools.count(1)


def arrived(at: datetime, received_at: datetime, **row: object) -> NewReport:
    return located(at, received_at=received_at, callback_id=f"{next(_callbacks):032x}", **row)  # type: ignore[arg-type]


async def read(
    database: Database, wanted: ReportFilter, *, limit: int = 100, most_scanned: int = 100_000
) -> list[ReportRecord]:
    """Follow the pages to their end."""
    found: list[ReportRecord] = []
    after: ReportCursor | None = None
    while True:
        page = await reports.page(database, wanted, after=after, limit=limit, most_scanned=most_scanned)
        found += page.reports
        after = page.next
        if after is None:
            return found


async def exported(database: Database, wanted: ReportFilter, limit: int | None = None) -> list[ReportRecord]:
    async with aclosing(reports.export(database, wanted, limit=limit)) as batches:
        return [report async for batch in batches for report in batch]


SPAN_OF_EVERYTHING = [
    arrived(NOON - DAY, NOON + timedelta(minutes=5)),
    arrived(NOON - 30 * DAY, NOON + timedelta(minutes=6)),
    arrived(NOON + 10 * DAY, NOON + timedelta(minutes=7)),
    arrived(NOON - timedelta(minutes=50), NOON),
    arrived(NOON + timedelta(minutes=61), NOON + timedelta(minutes=59, seconds=59)),
    *(arrived(NOON + timedelta(minutes=minute), NOON + timedelta(minutes=minute)) for minute in range(60)),
]
OUTSIDE = [
    arrived(NOON - DAY, NOON - timedelta(seconds=1), transaction="t-2"),
    arrived(NOON - timedelta(seconds=2), NOON - timedelta(seconds=1), transaction="t-2"),
    arrived(NOON + timedelta(minutes=30), NOON + HOUR, transaction="t-2"),
    arrived(NOON - 30 * DAY, NOON + 2 * HOUR, transaction="t-2"),
    arrived(NOON + 10 * DAY, NOON - HOUR, transaction="t-2"),
]


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize(("limit", "most_scanned"), [(100, 100_000), (7, 100_000), (7, 10), (1, 3)])
async def test_everything_that_arrived_in_a_span_is_found_once_and_in_order(
    database: Database, limit: int, most_scanned: int, *, oldest_first: bool
) -> None:
    await store(database, *SPAN_OF_EVERYTHING, *OUTSIDE)
    wanted = ReportFilter(oldest_first=oldest_first, **SPAN)  # type: ignore[arg-type]

    found = await read(database, wanted, limit=limit, most_scanned=most_scanned)

    ids = sorted((row.at, row.id) for row in SPAN_OF_EVERYTHING)
    assert [(report.at, report.id.hex) for report in found] == (ids if oldest_first else ids[::-1])
    assert await exported(database, wanted) == found


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"received_since": NOON}, 67),
        ({"received_until": NOON}, 3),
        ({"received_since": NOON + 3 * HOUR}, 0),
        ({"since": NOON - 40 * DAY, "until": NOON - 20 * DAY} | SPAN, 1),
        ({"since": NOON + timedelta(minutes=10), "until": NOON + timedelta(minutes=20)} | SPAN, 10),
        ({"received_since": datetime.min.replace(tzinfo=UTC)}, 70),
        ({"received_until": datetime.max.replace(tzinfo=UTC)}, 70),
        ({"transaction_id": "t-1"} | SPAN, 65),
        ({"account": ACCOUNT, "flag": "late"} | SPAN, 2),
        ({"account": "another"} | SPAN, 0),
    ],
)
async def test_arrival_narrows_down_what_other_filters_find(
    database: Database, wanted: dict[str, object], count: int
) -> None:
    await store(database, *SPAN_OF_EVERYTHING, *OUTSIDE)

    assert len(await read(database, ReportFilter(**wanted), limit=9)) == count  # type: ignore[arg-type]
    assert len(await exported(database, ReportFilter(**wanted))) == count  # type: ignore[arg-type]


async def test_a_name_finds_its_reports_alone(database: Database) -> None:
    await store(
        database,
        located(name="pump-0417", imei=None, mdn=None),
        located(NOON + HOUR, name="pump-0417"),
        located(name="pump-04"),
        located(),
    )

    found = await read(database, ReportFilter(name="pump-0417"), limit=1)

    assert [report.at for report in found] == [NOON + HOUR, NOON]


async def test_a_flag_finds_the_reports_that_carry_it(database: Database) -> None:
    odd = [located(at, flags=("odd", "time_unreadable")) for at in minutes(3)]
    await store(database, *odd, *(located(at, transaction="t-2") for at in minutes(5)), located(flags=("other",)))

    found = await read(database, ReportFilter(flag="odd"), limit=2, most_scanned=2)

    assert [report.at for report in found] == list(minutes(3))


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(
    "wanted", [{}, {"device_id": "990001123456782"}, {"account": ACCOUNT}, {"since": NOON - 7 * DAY}]
)
async def test_the_oldest_come_first_when_asked_for(database: Database, wanted: dict[str, object], limit: int) -> None:
    times = sorted([*minutes(4), NOON - 5 * DAY, NOON - 100 * DAY, NOON + 20 * DAY])
    times = [at for at in times if at >= wanted.get("since", at)]  # type: ignore[operator]
    await store(database, *(located(at, received_at=at) for at in times))

    oldest_first = ReportFilter(oldest_first=True, **wanted)  # type: ignore[arg-type]

    assert [report.at for report in await read(database, oldest_first, limit=limit)] == times
    assert [report.at for report in await exported(database, oldest_first)] == times


async def test_newer_reports_come_last_when_the_oldest_come_first(database: Database) -> None:
    times = sorted(minutes(4))
    await store(database, *(located(at) for at in times[:3]))
    wanted = ReportFilter(oldest_first=True)
    first = await reports.page(database, wanted, limit=2)

    await store(database, located(times[3]))

    second = await reports.page(database, wanted, after=first.next, limit=2)
    assert [report.at for report in second.reports] == times[2:]


async def test_an_export_may_have_a_limit_and_begin_behind_a_place(database: Database) -> None:
    await store(database, *(located(at) for at in minutes(5)))

    [first] = await exported(database, ReportFilter(), limit=1)
    async with aclosing(
        reports.export(database, ReportFilter(), after=ReportCursor(first.at, first.id), limit=2)
    ) as batches:
        following = [report.at async for batch in batches for report in batch]

    assert following == list(minutes(3))[1:]
