import asyncio
from typing import Any

from sqlalchemy import func, select
from stage import MDNS, Stage, plan

from app.errors import OutcomeUnknown
from app.model import PeriodicPlan, TransactionId
from app.periodic import UnclaimedTransactions
from app.storage.tables import ReportRow, SessionRow
from tests.support.trackers import StubTracker

LOST = OutcomeUnknown("No answer came.", provider="thingspace", may_have_been_received=True)


async def start_unknown(stage: Stage, wanted: PeriodicPlan | None = None) -> dict[str, Any]:
    """Start a session whose outcome stays unknown."""
    stage.tracker.refuse_start(LOST)
    problem = await stage.start(wanted or plan())
    stage.tracker.on_start = None
    session: dict[str, Any] = problem["session"]
    return session


async def claimed(stage: Stage) -> int | None:
    async with stage.database.transaction() as db:
        return await db.scalar(select(func.count()).where(ReportRow.session_id.is_not(None)))


def unclaimed(*transaction_ids: str) -> UnclaimedTransactions:
    noted = UnclaimedTransactions()
    noted.note(transaction_ids)
    return noted


async def test_a_callback_before_the_reply_belongs_to_the_session(stage: Stage, tracker: StubTracker) -> None:
    async def call_back_first(plan: PeriodicPlan) -> TransactionId:
        await stage.report("t-1")
        await stage.settle()
        return TransactionId("t-1")

    tracker.on_start = call_back_first

    session = await stage.start()

    assert (session["state"], session["reports"]["received"]) == ("active", 1)
    assert await claimed(stage) == 1


async def test_a_report_that_missed_the_reply_is_claimed_by_the_writers_hook(stage: Stage) -> None:
    await stage.report("start-1")
    await stage.start()
    async with stage.database.transaction() as db:
        row = await db.scalar(select(ReportRow))
        assert row is not None
        row.session_id = None

    await stage.settle()

    assert await claimed(stage) == 1


async def test_reports_are_counted_once_however_many_claim_them(stage: Stage) -> None:
    for number in range(20):
        await stage.report("start-1", number % 4, number=number)
    replicas = [stage.replica(unclaimed("start-1")) for _ in range(4)]
    jobs = [next(job for job in replica.jobs() if job.name == "periodic claims") for replica in replicas]

    await asyncio.gather(stage.start(plan(4)), *(job.run() for job in jobs))
    await stage.sweep()

    assert (await stage.show("start-1"))["reports"]["received"] == 20


async def test_early_reports_teach_the_session_its_mdns(stage: Stage) -> None:
    await stage.report("start-1", 0)

    session = await stage.start(plan(1, with_mdn=False))

    (device,) = (await stage.periodic.devices(session["id"], after=None, limit=10)).devices
    assert device.row.mdn == MDNS[0]


async def test_a_fitting_callback_makes_an_unknown_session_active(stage: Stage) -> None:
    session = await start_unknown(stage, plan(2))
    stage.clock.forward(seconds=20)

    await stage.report("t-7", 1)
    await stage.settle()

    adopted = await stage.show(session["id"])
    assert (adopted["state"], adopted["transactionId"]) == ("active", "t-7")
    assert adopted["reports"]["received"] == 1
    assert adopted["startedAt"] == session["createdAt"]
    assert adopted["problem"] is None
    assert (await stage.show("t-7"))["id"] == session["id"]


async def test_reports_that_follow_are_the_adopted_sessions_own(stage: Stage) -> None:
    session = await start_unknown(stage)
    await stage.report("t-7", number=0)
    await stage.settle()

    await stage.report("t-7", number=1)

    assert (await stage.show(session["id"]))["reports"]["received"] == 2
    assert stage.unclaimed.pending() == 0


async def test_a_session_left_behind_is_adopted_when_its_call_cannot_last_any_longer(
    stage: Stage, tracker: StubTracker
) -> None:
    async def die(plan: PeriodicPlan) -> TransactionId:
        raise asyncio.CancelledError

    tracker.on_start = die
    task = asyncio.create_task(stage.start())
    await asyncio.wait([task])

    await stage.report("t-7")
    await stage.settle()
    too_early = (await stage.periodic.page(state=None, account=None, before=None, limit=10)).entries
    stage.clock.forward(seconds=41)
    await stage.report("t-7", number=1)
    await stage.settle()

    assert [view.row.state for view in too_early] == ["requested"]
    assert (await stage.show("t-7"))["reports"]["received"] == 2


async def test_what_a_dead_process_left_unclaimed_is_found_by_the_sweep(stage: Stage) -> None:
    session = await start_unknown(stage)
    await stage.report("t-7")

    await stage.sweep()

    assert (await stage.show(session["id"]))["state"] == "active"


async def test_callbacks_that_do_not_fit_adopt_nothing(stage: Stage) -> None:
    await stage.report("running already", 0)
    stage.clock.forward(minutes=1)
    session = await start_unknown(stage)
    stage.clock.forward(seconds=20)

    await stage.report("running already", 0, number=1)
    await stage.report("other account", 0, account="other")
    await stage.report("other device", 1)
    await stage.report("one device too many", 0)
    await stage.report("one device too many", 1)
    await stage.report("a stop", 0, type="stopped")
    await stage.settle()

    assert (await stage.show(session["id"]))["state"] == "unknown"
    assert await claimed(stage) == 0


async def test_a_callback_long_after_the_planned_end_adopts_nothing(stage: Stage) -> None:
    session = await start_unknown(stage)
    stage.clock.forward(days=3)

    await stage.report("t-7")
    await stage.settle()

    assert (await stage.show(session["id"]))["state"] == "unknown"


async def test_the_transaction_of_another_session_is_not_adopted(stage: Stage) -> None:
    await stage.start()
    unknown = await start_unknown(stage)

    await stage.report("start-1")
    await stage.settle()
    await stage.sweep()

    assert (await stage.show(unknown["id"]))["state"] == "unknown"


async def test_an_early_callback_of_a_start_under_way_is_not_adopted_by_another_session(
    stage: Stage, tracker: StubTracker
) -> None:
    unknown = await start_unknown(stage)

    async def call_back_first(plan: PeriodicPlan) -> TransactionId:
        await stage.report("t-2")
        await stage.settle()
        return TransactionId("t-2")

    tracker.on_start = call_back_first
    started = await stage.start()

    assert started["reports"]["received"] == 1
    assert (await stage.show(unknown["id"]))["state"] == "unknown"


async def test_of_two_alike_the_older_is_adopted_first(stage: Stage) -> None:
    older = await start_unknown(stage)
    stage.clock.forward(seconds=1)
    newer = await start_unknown(stage)

    await stage.report("t-1")
    await stage.settle()
    between = (await stage.show(older["id"]))["state"], (await stage.show(newer["id"]))["state"]
    await stage.report("t-2")
    await stage.settle()

    assert between == ("active", "unknown")
    assert (await stage.show(newer["id"]))["transactionId"] == "t-2"


async def test_of_two_that_differ_the_one_with_the_device_is_adopted(stage: Stage) -> None:
    small = await start_unknown(stage, plan(1))
    large = await start_unknown(stage, plan(3))

    await stage.report("t-1", 0)
    await stage.settle()
    in_doubt = await claimed(stage)
    await stage.report("t-1", 2)
    await stage.settle()
    await stage.report("t-2", 0)
    await stage.settle()

    assert in_doubt == 0
    assert (await stage.show(large["id"]))["reports"]["received"] == 2
    assert (await stage.show(small["id"]))["transactionId"] == "t-2"


async def test_where_evidence_does_not_come_the_session_that_lasts_longest_is_adopted(stage: Stage) -> None:
    await start_unknown(stage, plan(count=2))
    unlimited = await start_unknown(stage, plan(count=None))

    await stage.report("t-1")
    await stage.settle()
    stage.clock.forward(seconds=601)
    await stage.sweep()

    assert (await stage.show("t-1"))["id"] == unlimited["id"]


async def test_many_processes_adopt_a_transaction_once(stage: Stage) -> None:
    for _ in range(3):
        await start_unknown(stage)
    await stage.report("t-1")
    replicas = [stage.replica(unclaimed("t-1")) for _ in range(4)]
    jobs = [next(job for job in replica.jobs() if job.name == "periodic claims") for replica in replicas]

    await asyncio.gather(*(job.run() for job in jobs))

    async with stage.database.transaction() as db:
        active = list(await db.scalars(select(SessionRow.transaction_id).where(SessionRow.state == "active")))
    assert active == ["t-1"]
    assert (await stage.show("t-1"))["reports"]["received"] == 1


async def test_a_flood_of_unknown_transactions_is_noted_within_bounds(stage: Stage) -> None:
    session = await start_unknown(stage)
    await stage.report("t-1")

    stage.unclaimed.note(f"nobody's {number}" for number in range(60_000))
    await stage.settle()

    assert (await stage.show(session["id"]))["transactionId"] in ("t-1", None)
    await stage.sweep()
    assert (await stage.show(session["id"]))["transactionId"] == "t-1"


async def test_late_claims_of_an_ended_session_are_flagged(stage: Stage) -> None:
    session = await start_unknown(stage, plan(count=1))
    await stage.report("t-1", number=0)
    await stage.settle()
    assert (await stage.show(session["id"]))["state"] == "completed"
    async with stage.database.transaction() as db:
        row = await db.scalar(select(ReportRow))
        assert row is not None
        row.session_id = None
    stage.clock.forward(minutes=1)
    await stage.report("t-1", number=1)

    await stage.sweep()

    async with stage.database.transaction() as db:
        flags = await db.scalars(select(ReportRow.flags).order_by(ReportRow.received_at))
        assert [flag or [] for flag in flags] == [[], ["after_end", "late"]]
