"""Which reports a filter finds, in which order, and how pages follow each other."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.ids import new_id
from app.storage import reports
from app.storage.database import Database
from app.storage.reports import Box, ReportCursor, ReportFilter, ReportPage
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located, minutes, store

OTHER_IMEI = "990001123456790"
OTHER_MDN = "5085550202"


async def found(database: Database, **wanted: object) -> list[datetime]:
    page = await reports.page(database, ReportFilter(**wanted))  # type: ignore[arg-type]
    return [report.at for report in page.reports]


async def all_pages(database: Database, wanted: ReportFilter, limit: int, **options: int) -> list[ReportPage]:
    pages = []
    after: ReportCursor | None = None
    while True:
        pages.append(await reports.page(database, wanted, after=after, limit=limit, **options))
        after = pages[-1].next
        if after is None:
            return pages


async def test_reports_come_newest_first(database: Database) -> None:
    await store(database, *[located(at) for at in sorted(minutes(5))])

    assert await found(database) == list(minutes(5))


async def test_pages_follow_each_other_without_gap_or_repetition(database: Database) -> None:
    await store(database, *[located(at, transaction=name) for at in minutes(7) for name in ("a", "b", "c")])

    pages = await all_pages(database, ReportFilter(), 4)

    ids = [report.id for page in pages for report in page.reports]
    assert len(ids) == len(set(ids)) == 21
    assert [len(page.reports) for page in pages] == [4, 4, 4, 4, 4, 1]


async def test_a_full_last_page_has_no_next(database: Database) -> None:
    await store(database, *[located(at) for at in minutes(4)])

    pages = await all_pages(database, ReportFilter(), 2)

    assert len(pages) == 2


async def test_newer_reports_do_not_shift_the_following_pages(database: Database) -> None:
    await store(database, *[located(at) for at in minutes(4)])
    first = await reports.page(database, ReportFilter(), limit=2)

    await store(database, located(NOON + timedelta(hours=1)))

    second = await reports.page(database, ReportFilter(), after=first.next, limit=2)
    assert [report.at for report in second.reports] == list(minutes(4))[2:]


async def test_a_page_reaches_as_far_back_as_it_takes_to_fill_it(database: Database) -> None:
    recent, old = list(minutes(3)), [NOON - timedelta(days=days) for days in (20, 90, 400)]
    await store(database, *[located(at) for at in (*recent, *old)])

    assert await found(database, device_id=IMEI, until=NOON + timedelta(seconds=1)) == [*recent, *old]


async def test_since_is_included_and_until_is_not(database: Database) -> None:
    await store(database, *[located(at) for at in minutes(5)])

    times = await found(database, since=NOON - timedelta(minutes=3), until=NOON - timedelta(minutes=1))

    assert times == [NOON - timedelta(minutes=2), NOON - timedelta(minutes=3)]


async def test_a_transaction_finds_its_reports_alone(database: Database) -> None:
    await store(database, located(), located(transaction="t-2"), located(transaction=None))

    assert await found(database, transaction_id="t-2") == [NOON]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [({"account": ACCOUNT}, 2), ({"account": "other"}, 1), ({"status": "failed"}, 1), ({"type": "stopped"}, 0)],
)
async def test_other_filters_are_exact(database: Database, wanted: dict[str, object], count: int) -> None:
    await store(database, located(), failed(), located(account="other"))

    assert len(await found(database, **wanted)) == count


async def test_a_device_is_found_by_its_imei(database: Database) -> None:
    await store(database, located(), located(imei=OTHER_IMEI, mdn=OTHER_MDN))

    assert await found(database, device_id=IMEI) == [NOON]


async def test_an_imei_finds_earlier_reports_that_named_its_mdn_alone(database: Database) -> None:
    earlier = NOON - timedelta(hours=1)
    await store(database, located(earlier, imei=None))

    await store(database, located())

    assert await found(database, device_id=IMEI) == [NOON, earlier]


async def test_an_mdn_finds_reports_of_its_device_that_state_none(database: Database) -> None:
    later = NOON + timedelta(hours=1)
    await store(database, located(), located(later, mdn=None))

    assert await found(database, mdn=MDN) == [later, NOON]


async def test_an_mdn_does_not_find_reports_of_its_device_under_another_mdn(database: Database) -> None:
    await store(database, located(), located(NOON + timedelta(hours=1), mdn=OTHER_MDN))

    assert await found(database, mdn=MDN) == [NOON]


async def test_imei_and_mdn_together_find_what_matches_both(database: Database) -> None:
    await store(database, located(), located(NOON + timedelta(hours=1), mdn=OTHER_MDN), located(imei=OTHER_IMEI))

    assert await found(database, device_id=IMEI, mdn=MDN) == [NOON]


async def test_an_imei_and_an_mdn_never_seen_together_find_nothing(database: Database) -> None:
    await store(database, located(), located(imei=OTHER_IMEI, mdn=OTHER_MDN))

    assert await found(database, device_id=IMEI, mdn=OTHER_MDN) == []


async def test_a_device_and_a_transaction_together_find_what_matches_both(database: Database) -> None:
    await store(database, located(), located(NOON + timedelta(hours=1), transaction="t-2"))

    assert await found(database, device_id=IMEI, transaction_id="t-1") == [NOON]


async def test_a_session_finds_the_reports_of_all_its_transactions(database: Database) -> None:
    session_id = UUID(bytes=new_id(NOON).bytes)
    async with database.transaction() as session:
        await session.execute(
            text(
                "INSERT INTO sessions (id, provider, account, state, interval_s, start_delay_s, max_age_s,"
                " devices_total, created_at) VALUES (:id, 'thingspace', :account, 'active', 60, 0, 0, 1, now())"
            ),
            {"id": session_id, "account": ACCOUNT},
        )
        for transaction in ("start", "stop"):
            await session.execute(
                text("INSERT INTO session_transactions (transaction_id, session_id, kind) VALUES (:t, :id, :t)"),
                {"t": transaction, "id": session_id},
            )
    later = NOON + timedelta(hours=1)
    await store(database, located(transaction="start"), located(later, transaction="stop"), located(transaction="x"))

    assert await found(database, session_id=session_id) == [later, NOON]


async def test_an_unknown_session_finds_nothing(database: Database) -> None:
    await store(database, located())

    assert await found(database, session_id=UUID(int=1)) == []


async def test_a_box_finds_what_lies_in_it_or_on_its_border(database: Database) -> None:
    await store(
        database,
        located(latitude=42.0, longitude=-71.0),
        located(latitude=42.5, longitude=-71.5),
        located(latitude=43.1, longitude=-71.5),
        failed(),
    )

    inside = await found(database, box=Box(west_deg=-72, south_deg=42, east_deg=-71, north_deg=43))

    assert len(inside) == 2


async def test_a_box_with_west_beyond_east_spans_the_antimeridian(database: Database) -> None:
    fiji, hawaii, greenwich = (located(longitude=longitude) for longitude in (178.0, -157.0, 0.0))
    await store(database, fiji, hawaii, greenwich)

    inside = await found(database, box=Box(west_deg=170, south_deg=-90, east_deg=-150, north_deg=90))

    assert len(inside) == 2


async def test_a_search_without_index_stops_and_says_where_to_go_on(database: Database) -> None:
    await store(database, *[located(at) for at in minutes(10)], failed(NOON - timedelta(minutes=30)))

    pages = await all_pages(database, ReportFilter(status="failed"), 5, most_scanned=4)

    assert [len(page.reports) for page in pages] == [0, 0, 1]


async def test_a_search_without_index_finds_all_that_match_page_by_page(database: Database) -> None:
    await store(database, *[located(at, account=name) for at in minutes(10) for name in ("a", "b")])

    pages = await all_pages(database, ReportFilter(account="a"), 3, most_scanned=4)

    assert [report.at for page in pages for report in page.reports] == list(minutes(10))


async def test_an_id_finds_its_report(database: Database) -> None:
    row = located(NOON + timedelta(milliseconds=7))
    await store(database, row, located())

    report = await reports.find(database, UUID(row.id))

    assert report is not None
    assert report.at == NOON + timedelta(milliseconds=7)


async def test_reports_from_long_ago_and_far_ahead_are_found_in_their_order(database: Database) -> None:
    long_ago, far_ahead = datetime(1999, 1, 1, tzinfo=UTC), datetime(2150, 1, 1, tzinfo=UTC)
    await store(database, located(long_ago), located(far_ahead), located())

    assert await found(database) == [far_ahead, NOON, long_ago]
