import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from stage import IMEIS, MDNS, Stage, key, plan

from app.api.periodic_rendering import SessionAnswerWriter
from app.errors import (
    ConsentRequired,
    GatewayError,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ProviderMisconfigured,
    ProviderNotConfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    Unavailable,
)
from app.ids import parse_id
from app.model import PeriodicPlan, TransactionId
from app.periodic import Periodic
from app.settings import Settings
from app.storage.database import Database
from app.storage.tables import AliasRow, IdempotencyRow, SessionRow
from tests.support.trackers import StubTracker, provider_with

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
LOST = OutcomeUnknown("No answer came.", provider="thingspace", may_have_been_received=True)


async def states(stage: Stage) -> Counter[str]:
    async with stage.database.transaction() as db:
        return Counter(await db.scalars(select(SessionRow.state)))


async def test_a_start_is_active_with_its_transaction_and_its_plan(stage: Stage) -> None:
    session = await stage.start(plan(2, interval_s=300, count=6, start_delay_s=30))

    assert session["state"] == "active"
    assert session["transactionId"] == "start-1"
    assert session["devices"] == {"total": 2}
    assert session["reports"] == {"expected": 12, "due": 0, "received": 0, "failed": 0, "missing": 0, "ended": 0}
    assert (session["createdAt"], session["endsAt"]) == ("2026-03-02T12:00:00Z", "2026-03-02T12:30:30Z")


async def test_an_unlimited_session_expects_no_number_and_no_end(stage: Stage) -> None:
    session = await stage.start(plan(count=None))

    assert (session["unlimited"], session["count"], session["endsAt"]) == (True, None, None)
    assert session["reports"]["expected"] is None


async def test_the_intent_is_committed_before_the_provider_is_called(stage: Stage, tracker: StubTracker) -> None:
    seen: list[Counter[str]] = []

    async def look(plan: PeriodicPlan) -> TransactionId:
        seen.append(await states(stage))
        return TransactionId("start-1")

    tracker.on_start = look

    await stage.start()

    assert seen == [{"requested": 1}]


async def test_nobody_is_called_when_the_intent_cannot_be_committed(stage: Stage, tracker: StubTracker) -> None:
    away = Database(NOWHERE)
    periodic = Periodic([provider_with(tracker)], away, stage.writer, Settings(), now=stage.clock)

    with pytest.raises(Unavailable):
        await periodic.start(plan(), key=None, words=SessionAnswerWriter("a request"))

    assert tracker.starts == []
    await away.aclose()


async def test_a_session_is_found_by_its_id_and_by_its_transaction(stage: Stage) -> None:
    started = await stage.start()

    assert await stage.show(started["id"]) == await stage.show("start-1") == started


async def test_mdns_are_completed_from_the_alias_book(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(plan(2))

    await stage.start(plan(3, with_mdn=False))

    assert [device.mdn for device in tracker.starts[1].devices] == [MDNS[0], MDNS[1], None]


async def test_given_pairs_are_learned(stage: Stage) -> None:
    await stage.start(plan(2))

    async with stage.database.transaction() as db:
        pairs = (await db.execute(select(AliasRow.device, AliasRow.mdn))).all()
    assert set(pairs) == {(IMEIS[0], MDNS[0]), (IMEIS[1], MDNS[1])}


async def test_ten_thousand_devices_are_one_call_and_one_session(stage: Stage, tracker: StubTracker) -> None:
    session = await stage.start(plan(10_000))

    assert len(tracker.starts[0].devices) == 10_000
    assert session["reports"]["expected"] == 60_000
    assert len((await stage.periodic.devices(session["id"], after=None, limit=1001)).devices) == 1001


async def test_a_definite_refusal_fails_the_session_and_keeps_the_problem(stage: Stage, tracker: StubTracker) -> None:
    tracker.refuse_start(ConsentRequired("No consent.", provider="thingspace"))

    problem = await stage.start()

    assert problem["code"] == "CONSENT_REQUIRED"
    (kept,) = (await stage.periodic.page(state="failed", account=None, before=None, limit=10)).entries
    assert kept.row.problem is not None
    assert kept.row.problem["code"] == "CONSENT_REQUIRED"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(LOST, id="unknown"),
        pytest.param(ProviderTimeout("Late.", may_have_been_received=True), id="time-out after sending"),
        pytest.param(RuntimeError("a bug"), id="anything unforeseen"),
    ],
)
async def test_an_unknown_outcome_is_told_with_the_session_and_never_repeated(
    stage: Stage, tracker: StubTracker, error: Exception
) -> None:
    tracker.refuse_start(error)

    answer = await stage.periodic.start(plan(), key=None, words=SessionAnswerWriter("a request"))

    problem = stage.read(answer)
    assert (answer.status, problem["code"]) == (504, "OUTCOME_UNKNOWN")
    assert problem["session"]["state"] == "unknown"
    assert answer.session_id == parse_id(problem["session"]["id"])
    assert len(tracker.starts) == 1


@pytest.mark.parametrize(
    ("providers", "why"),
    [
        pytest.param([], "none there", id="no provider"),
        pytest.param([provider_with(None)], "cannot", id="no tracker"),
        pytest.param([provider_with(StubTracker(), configured=False)], "not configured", id="not configured"),
    ],
)
async def test_without_a_provider_that_can_it_is_not_configured(
    stage: Stage, providers: list[object], why: str
) -> None:
    periodic = Periodic(providers, stage.database, stage.writer, Settings())  # type: ignore[arg-type]

    with pytest.raises(ProviderNotConfigured):
        await periodic.start(plan(), key=None, words=SessionAnswerWriter("a request"))


async def test_the_first_configured_provider_with_a_tracker_is_used(stage: Stage, tracker: StubTracker) -> None:
    providers = [provider_with(None), provider_with(StubTracker(), configured=False), provider_with(tracker)]
    periodic = Periodic(providers, stage.database, stage.writer, Settings())

    await periodic.start(plan(), key=None, words=SessionAnswerWriter("a request"))

    assert len(tracker.starts) == 1


async def test_a_caller_who_goes_away_does_not_stop_the_recording(stage: Stage, tracker: StubTracker) -> None:
    called, answered = asyncio.Event(), asyncio.Event()

    async def wait(plan: PeriodicPlan) -> TransactionId:
        called.set()
        await answered.wait()
        return TransactionId("start-1")

    tracker.on_start = wait
    async with stage.replica().running():
        periodic = stage.replica()
        async with periodic.running():
            caller = asyncio.create_task(periodic.start(plan(), key=None, words=SessionAnswerWriter("a request")))
            await called.wait()
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            answered.set()

    assert (await stage.show("start-1"))["state"] == "active"


async def test_a_start_left_behind_by_a_dead_process_becomes_unknown(stage: Stage, tracker: StubTracker) -> None:
    session = await stage.start()
    async with stage.database.transaction() as db:
        await db.execute(update(SessionRow).values(state="requested", transaction_id=None, started_at=None))

    stage.clock.forward(seconds=30)
    assert (await stage.show(session["id"]))["state"] == "requested"
    stage.clock.forward(seconds=11)
    assert (await stage.show(session["id"]))["state"] == "unknown"


async def test_the_same_key_and_body_get_the_same_answer_without_a_second_call(
    stage: Stage, tracker: StubTracker
) -> None:
    first = await stage.periodic.start(plan(), key=key(), words=SessionAnswerWriter("first"))
    again = await stage.periodic.start(plan(), key=key(), words=SessionAnswerWriter("again"))

    assert first == again
    assert len(tracker.starts) == 1


async def test_twenty_at_once_with_one_key_are_one_call(stage: Stage, tracker: StubTracker) -> None:
    called, answered = asyncio.Event(), asyncio.Event()

    async def wait(plan: PeriodicPlan) -> TransactionId:
        called.set()
        await answered.wait()
        return TransactionId("start-1")

    tracker.on_start = wait
    tasks = [
        asyncio.create_task(stage.periodic.start(plan(), key=key(), words=SessionAnswerWriter(str(number))))
        for number in range(20)
    ]
    await called.wait()
    done, pending = set(), set(tasks)
    while len(pending) > 1:
        finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= finished
    answered.set()
    (first,) = [await task for task in pending]

    assert len(tracker.starts) == 1
    assert {type(task.exception()) for task in done} == {IdempotencyInProgress}
    assert first.status == 202
    assert await states(stage) == {"active": 1}


async def test_a_key_with_another_body_is_refused(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(key=key())

    with pytest.raises(IdempotencyKeyReused):
        await stage.start(key=key(body=b"another"))

    assert len(tracker.starts) == 1


async def test_keys_of_different_callers_do_not_meet(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(key=key(owner="me"))
    await stage.start(key=key(owner="you", body=b"another"))

    assert len(tracker.starts) == 2


async def test_a_key_is_free_after_a_day(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(key=key())

    await let_keys_age(stage, hours=23)
    await stage.start(key=key())
    await let_keys_age(stage, hours=2)
    await stage.start(key=key(body=b"another"))

    assert len(tracker.starts) == 2


async def test_a_replica_whose_clock_is_ahead_starts_nothing_a_second_time(stage: Stage, tracker: StubTracker) -> None:
    await stage.start(key=key())

    stage.clock.forward(days=400)
    await stage.start(key=key())
    await next(job for job in stage.periodic.jobs() if job.name == "idempotency keys").run()
    await stage.start(key=key())

    assert len(tracker.starts) == 1


async def let_keys_age(stage: Stage, *, hours: int) -> None:
    async with stage.database.transaction() as db:
        await db.execute(update(IdempotencyRow).values(created_at=IdempotencyRow.created_at - timedelta(hours=hours)))


async def test_old_keys_are_forgotten(stage: Stage) -> None:
    await stage.start(key=key("old"))
    await let_keys_age(stage, hours=25)
    await stage.start(key=key("young"))

    await next(job for job in stage.periodic.jobs() if job.name == "idempotency keys").run()

    async with stage.database.transaction() as db:
        assert list(await db.scalars(select(IdempotencyRow.key))) == ["young"]


async def test_a_final_refusal_is_the_keys_answer(stage: Stage, tracker: StubTracker) -> None:
    tracker.refuse_start(ConsentRequired("No consent.", provider="thingspace"))

    first = await stage.start(key=key())
    tracker.on_start = None
    again = await stage.start(key=key())

    assert first == again
    assert len(tracker.starts) == 1


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("No connection could be made."),
        ProviderThrottled("Too many."),
        ProviderMisconfigured("Wrong password."),
        Unavailable("The vault is away."),
    ],
    ids=lambda error: error.code,
)
async def test_a_failure_that_started_nothing_leaves_the_key_free(
    stage: Stage, tracker: StubTracker, error: GatewayError
) -> None:
    tracker.refuse_start(error)
    with pytest.raises(type(error)):
        await stage.start(key=key())

    tracker.on_start = None
    session = await stage.start(key=key())

    assert session["state"] == "active"
    assert await states(stage) == {"failed": 1, "active": 1}


async def test_a_key_whose_outcome_was_unknown_tells_how_the_session_stands(stage: Stage, tracker: StubTracker) -> None:
    tracker.refuse_start(LOST)
    problem = await stage.start(key=key())

    before = await stage.periodic.start(plan(), key=key(), words=SessionAnswerWriter("a request"))
    await stage.report("t-9")
    await stage.settle()
    after = await stage.periodic.start(plan(), key=key(), words=SessionAnswerWriter("a request"))

    assert (before.status, stage.read(before)["state"]) == (202, "unknown")
    assert (after.status, stage.read(after)["state"]) == (202, "active")
    assert stage.read(after)["id"] == problem["session"]["id"]
    assert len(tracker.starts) == 1


async def test_a_key_of_a_process_that_died_is_not_blocked_for_ever(stage: Stage, tracker: StubTracker) -> None:
    async def die(plan: PeriodicPlan) -> TransactionId:
        raise asyncio.CancelledError

    tracker.on_start = die
    with pytest.raises(asyncio.CancelledError):
        await stage.start(key=key())

    with pytest.raises(IdempotencyInProgress):
        await stage.start(key=key())
    stage.clock.forward(seconds=41)
    assert (await stage.start(key=key()))["state"] == "unknown"
    assert len(tracker.starts) == 1
