"""The writer: what is acknowledged is committed, once, whatever else is in the batch."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select, text

from app.errors import Overloaded, Unavailable
from app.ids import new_id
from app.model import AccountName, Device, ProviderName, Report
from app.storage import aliases, positions
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.rows import NewCallback, NewReport, to_row
from app.storage.tables import ReportRow
from app.storage.writer import Entry, Unstorable, Writer
from tests.support.counting import counting
from tests.support.reports import ACCOUNT, IMEI, MDN, NOON, failed, located

HUGE = "".join(sha256(str(n).encode()).hexdigest() for n in range(200))
"""More than an index takes, and not to be compressed."""


def callback(**members: Any) -> NewCallback:
    key = new_id(NOON)
    given = {"provider": "thingspace", "service": "DeviceLocation", "state": "stored", "signature": "unchecked"}
    return NewCallback(id=key.hex, received_at=NOON, **{**given, **members})


def entry(*reports: NewReport, body: bytes = b"{}") -> Entry:
    return Entry(reports=reports, callback=callback(), body=body)


def undated(words: str, *, received_at: Any = NOON) -> NewReport:
    report = Report(
        provider=ProviderName("thingspace"),
        type="location",
        status="failed",
        content_key=words,
        account=AccountName("0844559123-00001"),
        device=Device(id=IMEI, kind="imei"),
    )
    return to_row(report, received_at=received_at)


async def count(database: Database, table: str, where: str = "true") -> int:
    async with database.transaction() as session:
        found = await session.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"))  # noqa: S608 -- ours
    assert isinstance(found, int)
    return found


async def test_what_is_done_is_committed(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(entry(located()))

        assert await count(database, "reports") == await count(database, "callbacks") == 1


async def test_what_arrives_together_shares_commits(database: Database) -> None:
    statements: list[int] = []
    async with Writer(counting(database, statements), batch_limit=512).running() as writer:
        first = writer.submit(entry(located()))
        waiting = [first]
        await asyncio.sleep(0)
        waiting += [writer.submit(entry(located(NOON - timedelta(seconds=n)))) for n in range(1, 1000)]
        await asyncio.gather(*waiting)

    assert sum(statements) == await count(database, "reports") == 1000
    # A burst out of nothing begins with small batches, which soon grow.
    assert len(statements) <= 10


class Flushed:
    """A connection to a database whose disk takes a while for each commit; tells how many wait at once."""

    def __init__(self, connection: Connection, flush_s: float, at_once: list[int]) -> None:
        self._connection = connection
        self._flush_s = flush_s
        self._at_once = at_once

    async def execute(self, query: str) -> Any:
        done = await self._connection.execute(query)
        await asyncio.sleep(self._flush_s)
        return done

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        self._at_once.append(self._at_once[-1] + 1)
        done = await self._connection.fetchrow(query, *arguments)
        await asyncio.sleep(self._flush_s)
        self._at_once.append(self._at_once[-1] - 1)
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(("flush_s", "at_once"), [(0.0, 1), (0.1, 2)])
async def test_a_second_connection_is_used_where_the_disk_takes_long(
    database: Database, flush_s: float, at_once: int
) -> None:
    heard = [0]

    async def connect() -> Any:
        return Flushed(await database.connect(), flush_s, heard)

    async def send(writer: Writer, sender: int) -> None:
        for n in range(10):
            await writer.submit(entry(located(NOON - timedelta(seconds=10 * sender + n))))

    async with Writer(connect, slow_flush_s=0.1, stuck_s=60).running() as writer:
        await asyncio.wait_for(asyncio.gather(*[send(writer, sender) for sender in range(64)]), 20)

    assert max(heard) == at_once
    assert await count(database, "reports") == 640


async def test_senders_who_wait_for_their_answers_come_in_halves(database: Database) -> None:
    statements: list[int] = []

    async def send(writer: Writer, sender: int) -> None:
        for n in range(10):
            await writer.submit(entry(located(NOON - timedelta(seconds=10 * sender + n))))

    async with Writer(counting(database, statements), slow_flush_s=60).running() as writer:
        await asyncio.gather(*[send(writer, sender) for sender in range(80)])

    # The first batches show how many there are.
    assert max(statements) == 40
    assert await count(database, "reports") == 800


class Listener:
    """Is told what became of an entry; cannot bear it, if that is wanted."""

    def __init__(self, heard: list[str], *, breaks: bool = False) -> None:
        self._heard = heard
        self._breaks = breaks

    def stored(self) -> None:
        if self._breaks:
            raise ValueError
        self._heard.append("stored")

    def not_stored(self, error: Unavailable) -> None:
        self._heard.append(error.code)


async def test_all_who_wait_are_told_even_if_one_of_them_cannot_bear_it(database: Database) -> None:
    heard: list[str] = []
    async with Writer(database.connect, pending=database.pending).running() as writer:
        for breaks in (False, True, False):
            stored = writer.submit(entry(located()), listener=Listener(heard, breaks=breaks))
        await stored
        await writer.submit(entry(located()))

    assert heard == ["stored", "stored"]


async def test_those_who_wait_are_told_what_is_not_stored() -> None:
    async def connect() -> Connection:
        raise ConnectionRefusedError

    heard: list[str] = []
    async with Writer(connect, patience_s=0).running() as writer:
        stored = writer.submit(entry(located()), listener=Listener(heard))
        with pytest.raises(Unavailable):
            await stored

    assert heard == ["UNAVAILABLE"]


async def test_a_lone_entry_waits_for_nobody(database: Database) -> None:
    statements: list[int] = []
    async with Writer(counting(database, statements)).running() as writer:
        for n in range(3):
            await writer.submit(entry(located(NOON - timedelta(seconds=n))))

    assert statements == [1, 1, 1]


async def test_ten_times_the_same_is_one_report_and_ten_callbacks(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        together = [writer.submit(entry(located())) for _ in range(5)]
        await asyncio.gather(*together)
        for _ in range(5):
            await writer.submit(entry(located()))

    assert (await count(database, "reports"), await count(database, "callbacks")) == (1, 10)


async def test_a_repetition_without_a_time_is_dated_by_its_first_arrival(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await asyncio.gather(*(writer.submit(entry(undated("a"))) for _ in range(3)))
        await writer.submit(entry(undated("a", received_at=NOON + timedelta(days=3))))
        await writer.submit(entry(undated("b", received_at=NOON + timedelta(days=3))))

    assert await count(database, "reports", f"at = '{NOON.isoformat()}'") == 1
    assert await count(database, "reports") == 2


async def test_the_latest_position_follows_the_time_of_the_fix(database: Database) -> None:
    newest, oldest = NOON, NOON - timedelta(hours=1)
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(entry(located(newest, latitude=2.0)))
        await writer.submit(entry(located(oldest, latitude=1.0)))
        await writer.submit(entry(failed(newest + timedelta(hours=1))))

    async with database.transaction() as session:
        [row] = await positions.latest(session, [positions.Wanted(keys=[IMEI], since=NOON - timedelta(days=1))])
    assert row is not None
    assert (row.at, row.latitude) == (newest, 2.0)


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(hours=20), timedelta(minutes=3)])
async def test_a_fix_from_the_future_does_not_hide_later_ones(database: Database, ahead: timedelta) -> None:
    future = located(NOON + ahead)
    future.received_at = NOON
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(entry(future))
        await writer.submit(entry(located(NOON, latitude=1.0)))

    async with database.transaction() as session:
        [row] = await positions.latest(session, [positions.Wanted(keys=[IMEI], since=NOON - timedelta(days=1))])
    assert row is not None
    assert row.at == NOON


@pytest.mark.parametrize(
    ("row", "flags"),
    [
        pytest.param(located(received_at=NOON + timedelta(hours=2), callback_id="0" * 32), ["late"], id="late"),
        pytest.param(located(received_at=NOON + timedelta(minutes=59), callback_id="0" * 32), None, id="in time"),
        pytest.param(
            located(received_at=NOON + timedelta(hours=2), callback_id="0" * 32, cached=True), None, id="cached"
        ),
        pytest.param(located(received_at=NOON + timedelta(hours=2)), None, id="answered"),
        pytest.param(
            failed(received_at=NOON + timedelta(hours=2), callback_id="0" * 32, flags=("odd",)),
            ["odd", "late"],
            id="failed",
        ),
        pytest.param(located(received_at=NOON - timedelta(minutes=3)), ["future_time"], id="future"),
        pytest.param(located(received_at=NOON - timedelta(minutes=1)), None, id="a little ahead"),
        pytest.param(
            located(received_at=NOON - timedelta(hours=1), flags=("future_time",)), ["future_time"], id="known before"
        ),
    ],
)
async def test_an_arrival_out_of_time_is_flagged(database: Database, row: NewReport, flags: list[str] | None) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(entry(row))

    async with database.transaction() as session:
        assert (await session.scalars(select(ReportRow.flags))).one() == flags


async def test_reports_teach_which_number_belongs_to_which_device(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        await writer.submit(entry(located()))
        by_number = located(NOON + timedelta(minutes=1), imei=None)
        await writer.submit(entry(by_number))

    assert await count(database, "reports", f"device = '{IMEI}'") == 2
    async with database.transaction() as session:
        assert await aliases.current(session, ACCOUNT, ids=[IMEI]) == [(IMEI, "imei", MDN)]


POISONS = [
    pytest.param(located(mdn=None, transaction="a\x00b"), id="NUL"),
    pytest.param(located(transaction=HUGE), id="larger than an index takes"),
    pytest.param(located(vendor_type="\ud800"), id="half a surrogate"),
    pytest.param(located(imei=HUGE), id="a huge device"),
    pytest.param(located(mdn=HUGE), id="a huge number"),
]


@pytest.mark.parametrize("poison", POISONS)
async def test_what_the_database_cannot_take_is_quarantined_and_its_neighbours_are_stored(
    database: Database, poison: NewReport
) -> None:
    good = [entry(located(NOON - timedelta(seconds=n))) for n in range(20)]
    async with Writer(database.connect, pending=database.pending).running() as writer:
        entries = [*good[:10], entry(poison, body=b"\x00raw\xff"), *good[10:]]
        await asyncio.gather(*[writer.submit(one) for one in entries])

    assert await count(database, "reports") == 20
    assert await count(database, "callbacks", "state = 'stored'") == 20
    assert await count(database, "callbacks", r"state = 'quarantined' AND body = '\x00726177ff'") == 1
    assert await count(database, "callbacks", "reason LIKE 'the database cannot store it%'") == 1


async def test_a_fix_that_cannot_be_stored_does_not_take_its_neighbours_along(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        poisoned = writer.submit(Entry(reports=(located(transaction="a\x00b"),)))
        writer.submit(entry(located(NOON - timedelta(seconds=1))))
        writer.submit(entry(located(NOON - timedelta(seconds=2))))
        with pytest.raises(Unstorable):
            await poisoned
        await writer.submit(entry(located(NOON - timedelta(seconds=3))))

    assert await count(database, "reports") == 3


class Breaking:
    """A connection that raises what nobody foresaw, after the statement was carried out."""

    def __init__(self, connection: Connection, left: list[Exception]) -> None:
        self._connection = connection
        self._left = left

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        row = await self._connection.fetchrow(query, *arguments)
        if self._left:
            raise self._left.pop()
        return row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def breaking(database: Database, *failures: Exception) -> Callable[[], Awaitable[Any]]:
    left = list(failures)

    async def connect() -> Any:
        return Breaking(await database.connect(), left)

    return connect


async def test_what_nobody_foresaw_is_overcome_by_a_new_connection(database: Database) -> None:
    async with Writer(breaking(database, RuntimeError("the handler is closed"))).running() as writer:
        await writer.submit(entry(located()))

    assert await count(database, "reports") == 1


async def test_what_nobody_foresaw_fails_one_batch_and_not_the_writer(database: Database) -> None:
    async with Writer(breaking(database, LookupError("odd"), LookupError("odd again"))).running() as writer:
        with pytest.raises(Unavailable):
            await writer.submit(entry(located()))
        await writer.submit(entry(located()))

    assert await count(database, "reports") == 1


async def test_beyond_its_bound_nothing_more_is_taken(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending, bound=5).running() as writer:
        accepted = [writer.submit(entry(located(NOON - timedelta(seconds=n)))) for n in range(5)]
        with pytest.raises(Overloaded) as refused:
            writer.submit(entry(located()))
        await asyncio.gather(*accepted)
        await asyncio.sleep(0)
        await writer.submit(entry(located(NOON - timedelta(seconds=9))))

    assert refused.value.retry_after_s
    assert await count(database, "reports") == 6


async def test_leaving_stores_what_was_accepted(database: Database) -> None:
    async with Writer(database.connect, pending=database.pending).running() as writer:
        accepted = [writer.submit(entry(located(NOON - timedelta(seconds=n)))) for n in range(300)]

    assert all(one.done() and one.exception() is None for one in accepted)
    assert await count(database, "reports") == 300


async def test_unknown_transactions_are_told(database: Database) -> None:
    told: list[str] = []
    async with Writer(database.connect, pending=database.pending, unclaimed=told.extend).running() as writer:
        await writer.submit(entry(located(transaction="t-9")))
        await writer.submit(entry(located(transaction=None)))

    assert told == ["t-9"]


async def test_writers_on_one_database_store_the_same_reports_once(database: Database) -> None:
    async with (
        Writer(database.connect, pending=database.pending).running() as one,
        Writer(database.connect, pending=database.pending).running() as other,
    ):
        await asyncio.gather(
            *[
                writer.submit(entry(located(NOON - timedelta(seconds=n), mdn=str(int(MDN) + n % 7))))
                for n in range(400)
                for writer in (one, other)
            ]
        )

    assert (await count(database, "reports"), await count(database, "callbacks")) == (400, 800)
