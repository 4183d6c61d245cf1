import pytest
from sqlalchemy import select, update
from stage import IMEIS, Stage, plan

from app.storage import claims
from app.storage.tables import ReportRow, SessionTransactionRow


async def counts(stage: Stage, reference: str = "start-1") -> dict[str, int]:
    reports: dict[str, int] = (await stage.show(reference))["reports"]
    return reports


async def test_reports_are_counted_as_received_and_failed(stage: Stage) -> None:
    await stage.start()

    await stage.report("start-1", number=0)
    await stage.report("start-1", number=1, failed=True)

    assert await counts(stage) == {"expected": 6, "due": 0, "received": 1, "failed": 1, "missing": 0, "ended": 0}


async def test_the_same_report_counts_once(stage: Stage) -> None:
    await stage.start()

    for _ in range(10):
        await stage.report("start-1", number=0)

    assert (await counts(stage))["received"] == 1


@pytest.mark.parametrize(
    ("after_s", "due"),
    [(0, 0), (29, 0), (30, 1), (329, 1), (330, 2), (1529, 5), (1530, 6), (1799, 6)],
)
async def test_fixes_fall_due_at_their_time_and_a_grace(stage: Stage, after_s: int, due: int) -> None:
    await stage.start()

    stage.clock.forward(seconds=after_s)

    assert await counts(stage) == {"expected": 6, "due": due, "received": 0, "failed": 0, "missing": due, "ended": 0}


async def test_a_start_delay_puts_everything_off(stage: Stage) -> None:
    await stage.start(plan(start_delay_s=600))

    stage.clock.forward(seconds=629)
    before = await counts(stage)
    stage.clock.forward(seconds=1)

    assert (before["due"], (await counts(stage))["due"]) == (0, 1)


@pytest.mark.parametrize(("interval_s", "grace_s"), [(1, 1), (20, 20), (300, 30), (3600, 360)])
async def test_the_grace_is_never_longer_than_an_interval(stage: Stage, interval_s: int, grace_s: int) -> None:
    await stage.start(plan(interval_s=interval_s, count=1000))

    stage.clock.forward(seconds=grace_s - 0.5)
    before = await counts(stage)
    stage.clock.forward(seconds=0.5)

    assert (before["due"], (await counts(stage))["due"]) == (0, 1)


async def test_an_eager_device_does_not_hide_a_dead_one(stage: Stage) -> None:
    await stage.start(plan(2))
    for number in range(4):
        await stage.report("start-1", 0, number=number)

    stage.clock.forward(seconds=330)

    assert await counts(stage) == {"expected": 12, "due": 4, "received": 4, "failed": 0, "missing": 2, "ended": 0}


async def test_an_unlimited_session_falls_due_without_an_end(stage: Stage) -> None:
    await stage.start(plan(count=None))

    stage.clock.forward(days=30)

    assert (await counts(stage))["due"] == 30 * 24 * 12


async def test_a_cached_fix_from_before_the_start_counts(stage: Stage) -> None:
    await stage.start()

    early = stage.clock.at.replace(hour=11)
    await stage.report("start-1", at=early)

    assert (await counts(stage))["received"] == 1


async def test_devices_tell_their_counts_and_their_last_fix(stage: Stage) -> None:
    session = await stage.start(plan(2))
    stage.clock.forward(seconds=330)
    await stage.report("start-1", 1, number=1)
    await stage.report("start-1", 1, number=0, at=stage.clock.at.replace(hour=11))

    silent, talking = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices

    assert (silent.row.device, silent.last, silent.counts.missing) == (IMEIS[0], None, 2)
    assert (talking.counts.received, talking.counts.due, talking.counts.missing) == (2, 2, 0)
    assert talking.last is not None
    assert talking.last.at.hour == 12


async def test_a_report_that_is_claimed_after_the_end_is_late(stage: Stage) -> None:
    await stage.start()
    stage.clock.forward(days=1)
    await stage.show("start-1")
    stage.clock.forward(days=1)
    async with stage.database.transaction() as db:
        await db.execute(update(SessionTransactionRow).values(transaction_id="elsewhere"))
    await stage.report("start-1", flags=("odd",))
    await stage.report("start-1", number=1, flags=("late",))

    async with stage.database.transaction() as db:
        await db.execute(update(SessionTransactionRow).values(transaction_id="start-1"))
        await claims.claim(db, ["start-1"])

    async with stage.database.transaction() as db:
        flags = list(await db.scalars(select(ReportRow.flags).order_by(ReportRow.at)))
    assert flags == [["odd", "after_end", "late"], ["late", "after_end"]]


@pytest.mark.parametrize("first", ["claimed", "known"])
async def test_a_fix_that_may_not_be_believed_counts_and_is_nobodys_last(stage: Stage, first: str) -> None:
    if first == "claimed":
        await stage.report("start-1", flags=("time_unreadable",))
    session = await stage.start()
    await stage.settle()
    if first == "known":
        await stage.report("start-1", flags=("time_unreadable",))

    [device] = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices

    assert (device.counts.received, device.last) == (1, None)


async def test_devices_are_paged_by_imei(stage: Stage) -> None:
    session = await stage.start(plan(3))

    page = (await stage.periodic.devices(session["id"], after=IMEIS[0], limit=1)).devices

    assert [view.row.device for view in page] == [IMEIS[1]]


async def test_a_page_of_sessions_has_the_counts_of_each(stage: Stage) -> None:
    for number in range(3):
        stage.clock.forward(seconds=1)
        await stage.start(plan(first=number))
        await stage.report(f"start-{number + 1}", number)
    await stage.report("start-3", 2, number=1)

    page = (await stage.periodic.page(state=None, account=None, before=None, limit=10)).entries

    assert [(view.row.transaction_id, view.counts.received) for view in page] == [
        ("start-3", 2),
        ("start-2", 1),
        ("start-1", 1),
    ]


async def test_sessions_are_paged_and_filtered(stage: Stage) -> None:
    for number in range(3):
        stage.clock.forward(seconds=1)
        await stage.start(plan(first=number, account="other" if number == 1 else "mine"))

    first = (await stage.periodic.page(state=None, account=None, before=None, limit=2)).entries
    second = (await stage.periodic.page(state=None, account=None, before=first[-1].row.id, limit=2)).entries
    other = (await stage.periodic.page(state="active", account="other", before=None, limit=2)).entries
    none = (await stage.periodic.page(state="stopped", account=None, before=None, limit=2)).entries

    assert [view.row.transaction_id for view in first + second] == ["start-3", "start-2", "start-1"]
    assert [view.row.transaction_id for view in other] == ["start-2"]
    assert none == []


async def test_all_reports_complete_a_session(stage: Stage) -> None:
    await stage.start(plan(2, count=2))

    for device in (0, 1):
        await stage.report("start-1", device, number=0)
        await stage.report("start-1", device, number=1, failed=True)

    session = await stage.show("start-1")
    assert (session["state"], session["endedAt"]) == ("completed", "2026-03-02T12:00:00Z")
    assert session["reports"] == {"expected": 4, "due": 4, "received": 2, "failed": 2, "missing": 0, "ended": 0}


async def test_a_session_is_not_complete_while_one_device_lacks_reports(stage: Stage) -> None:
    await stage.start(plan(2, count=1))

    await stage.report("start-1", 0, number=0)
    await stage.report("start-1", 0, number=1)

    assert (await stage.show("start-1"))["state"] == "active"


async def test_the_clock_completes_a_session_and_says_what_is_missing(stage: Stage) -> None:
    await stage.start()
    await stage.report("start-1")

    stage.clock.forward(seconds=6 * 300 + 30)
    before = (await stage.show("start-1"))["state"]
    stage.clock.forward(seconds=1)
    session = await stage.show("start-1")

    assert (before, session["state"]) == ("active", "completed")
    assert session["reports"] == {"expected": 6, "due": 6, "received": 1, "failed": 0, "missing": 5, "ended": 0}


async def test_the_clock_moves_sessions_that_nobody_looks_at(stage: Stage) -> None:
    await stage.start()
    stage.clock.forward(days=1)

    await stage.periodic.advance()
    await stage.replica().advance()

    (view,) = (await stage.periodic.page(state="completed", account=None, before=None, limit=10)).entries
    assert view.row.ended_at == stage.clock.at


async def test_what_a_clock_that_was_ahead_has_ended_goes_on(stage: Stage) -> None:
    await stage.start(plan(2, count=6))
    await stage.report("start-1")
    stage.clock.forward(hours=1)
    ahead = (await stage.show("start-1"))["state"]

    stage.clock.forward(hours=-1)

    session = await stage.show("start-1")
    assert (ahead, session["state"], session["endedAt"]) == ("completed", "active", None)
    assert session["reports"] == {"expected": 12, "due": 0, "received": 1, "failed": 0, "missing": 0, "ended": 0}


async def test_what_a_clock_that_was_ahead_has_ended_goes_on_even_if_nobody_looks(stage: Stage) -> None:
    await stage.start()
    await stage.stop("start-1")
    stage.clock.forward(hours=1)
    await stage.periodic.advance()

    stage.clock.forward(hours=-1)
    await stage.sweep()

    (view,) = (await stage.periodic.page(state="stopping", account=None, before=None, limit=10)).entries
    assert view.row.ended_at is None


async def test_what_has_all_its_reports_stays_ended_when_the_clock_is_put_back(stage: Stage) -> None:
    stage.clock.forward(hours=1)
    await stage.start(plan(count=1))
    await stage.report("start-1")
    await stage.show("start-1")

    stage.clock.forward(hours=-1)

    assert (await stage.show("start-1"))["state"] == "completed"


async def test_a_report_after_the_end_is_stored_counted_and_flagged_but_reopens_nothing(stage: Stage) -> None:
    await stage.start()
    stage.clock.forward(days=1)
    ended = await stage.show("start-1")

    stage.clock.forward(days=20)
    await stage.report("start-1")

    session = await stage.show("start-1")
    assert (session["state"], session["endedAt"]) == ("completed", ended["endedAt"])
    assert session["reports"]["received"] == 1
    async with stage.database.transaction() as db:
        assert list(await db.scalars(select(ReportRow.flags))) == [["after_end", "late"]]
