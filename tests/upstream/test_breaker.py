"""A provider that fails again and again is left alone for a while, and probed by one real request at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from prometheus_client import generate_latest

from app.errors import (
    ConsentRequired,
    GatewayError,
    OutcomeUnknown,
    ProviderMisconfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    TimeTooShort,
    UnableToLocate,
    Unavailable,
    UnexpectedReply,
)
from app.model import AccountName, Deadline, Located, LocationQuery, Mdn, PeriodicPlan, ProviderName, TransactionId
from app.observability import metrics
from app.provider import Assessment, Health, LocatesBy, Provider
from app.upstream import guarded
from app.upstream.breaker import Breaker

NAME = ProviderName("beacon")
QUERY = LocationQuery()
SOON = Deadline.after(1)


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ability:
    """Locates and tracks as it is told to.

    Attributes:
        error: Raised at every call; None succeeds.
        calls: How often it was called.
    """

    locates_by: LocatesBy = "measurements"
    stop_limit = 7

    def __init__(self) -> None:
        self.error: GatewayError | None = None
        self.answers: list[Located | GatewayError] = []
        self.calls = 0

    def assess(self, query: LocationQuery) -> Assessment:
        return Assessment(usable=True)

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        self._called()
        return Located(fix=None)  # type: ignore[arg-type]  # nobody looks at it

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        self._called()
        return self.answers

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        self._called()
        return TransactionId("t")

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        self._called()
        return TransactionId("t")

    def _called(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(NAME, after=3, cooldown_s=30, clock=clock)


def failing(error: GatewayError) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        raise error

    return ask


async def fine() -> str:
    return "fine"


async def fail(breaker: Breaker, times: int, error: GatewayError | None = None) -> None:
    for _ in range(times):
        with pytest.raises(GatewayError):
            await breaker.call(failing(error or ProviderUnavailable()))


FAILURES = [ProviderUnavailable(), ProviderTimeout(), UnexpectedReply(), OutcomeUnknown()]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_failures_in_a_row_open_it(breaker: Breaker, error: GatewayError) -> None:
    await fail(breaker, 3, error)

    with pytest.raises(ProviderUnavailable, match="cooling down") as caught:
        await breaker.call(fine)

    assert (caught.value.retry_after_s, caught.value.provider) == (30, NAME)


@pytest.mark.parametrize("error", [UnableToLocate(), ConsentRequired()], ids=lambda error: type(error).__name__)
async def test_any_other_answer_shows_that_it_works(breaker: Breaker, error: GatewayError) -> None:
    await fail(breaker, 2)
    await fail(breaker, 1, error)
    await fail(breaker, 2)

    assert await breaker.call(fine) == "fine"


@pytest.mark.parametrize(
    "error", [Unavailable(), ProviderThrottled(), ProviderMisconfigured()], ids=lambda error: type(error).__name__
)
async def test_errors_that_are_not_its_health_count_neither_way(breaker: Breaker, error: GatewayError) -> None:
    await fail(breaker, 2)
    await fail(breaker, 5, error)
    assert breaker.cooldown_s is None

    await fail(breaker, 1)

    assert breaker.cooldown_s == 30


def hasty(late: "asyncio.Future[Any] | None" = None) -> ProviderTimeout:
    error = ProviderTimeout()
    error.is_hasty, error.late = True, late
    return error


@pytest.mark.parametrize("error", [hasty(), TimeTooShort()], ids=["gave up", "was not asked"])
async def test_callers_in_a_hurry_do_not_open_it(breaker: Breaker, error: GatewayError) -> None:
    await fail(breaker, 10, error)

    assert breaker.cooldown_s is None


async def test_what_becomes_of_their_calls_counts_when_it_is_known(breaker: Breaker) -> None:
    lates: list[asyncio.Future[Any]] = [asyncio.Future() for _ in range(3)]
    for late in lates:
        await fail(breaker, 1, hasty(late))
    assert breaker.cooldown_s is None

    for late in lates:
        late.set_exception(ProviderTimeout())
    await asyncio.sleep(0)

    assert breaker.cooldown_s == 30


async def test_a_call_that_is_given_up_at_last_counts(breaker: Breaker) -> None:
    await fail(breaker, 2)
    late: asyncio.Future[Any] = asyncio.Future()
    await fail(breaker, 1, hasty(late))

    late.cancel()
    await asyncio.sleep(0)

    assert breaker.cooldown_s == 30


async def test_a_late_answer_shows_that_it_works(breaker: Breaker) -> None:
    late: asyncio.Future[Any] = asyncio.Future()
    await fail(breaker, 1, hasty(late))
    await fail(breaker, 2)

    late.set_result("answer")
    await asyncio.sleep(0)
    await fail(breaker, 2)

    assert breaker.cooldown_s is None


async def test_a_late_answer_closes_it_also_where_enough_time_was_given(breaker: Breaker) -> None:
    late: asyncio.Future[Any] = asyncio.Future()
    error = ProviderTimeout()
    error.late = late
    await fail(breaker, 3, error)
    assert breaker.cooldown_s == 30

    late.set_result("answer")
    await asyncio.sleep(0)

    assert breaker.cooldown_s is None


async def test_a_probe_lasts_until_its_call_ends(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, 3)
    clock.now += 30
    late: asyncio.Future[Any] = asyncio.Future()
    await fail(breaker, 1, hasty(late))
    with pytest.raises(ProviderUnavailable):
        await breaker.call(fine)

    late.set_result("answer")
    await asyncio.sleep(0)

    assert await breaker.call(fine) == "fine"


async def test_a_good_probe_closes_it(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, 3)
    clock.now += 30

    probed = await breaker.call(fine)

    assert (probed, breaker.cooldown_s) == ("fine", None)


async def test_a_failed_probe_begins_another_cooldown(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, 3)
    clock.now += 31

    await fail(breaker, 1)

    assert breaker.cooldown_s == 30


async def test_one_request_probes_while_the_others_are_answered_at_once(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, 3)
    clock.now += 30
    answer = asyncio.Event()

    async def slow() -> bool:
        return await answer.wait()

    probe = asyncio.create_task(breaker.call(slow))
    await asyncio.sleep(0)
    with pytest.raises(ProviderUnavailable):
        await breaker.call(fine)
    answer.set()
    await probe

    assert await breaker.call(fine) == "fine"


async def test_a_probe_whose_caller_goes_away_leaves_the_place_to_the_next(breaker: Breaker, clock: Clock) -> None:
    await fail(breaker, 3)
    clock.now += 30
    probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
    await asyncio.sleep(0)

    probe.cancel()
    await asyncio.wait([probe])

    assert await breaker.call(fine) == "fine"


async def test_calls_under_way_when_it_opened_do_not_prolong_it(breaker: Breaker, clock: Clock) -> None:
    answer = asyncio.Event()

    async def late() -> None:
        await answer.wait()
        raise ProviderUnavailable

    calls = [asyncio.create_task(breaker.call(late)) for _ in range(5)]
    await asyncio.sleep(0)
    await fail(breaker, 3)
    clock.now += 10
    answer.set()
    await asyncio.wait(calls)
    [call.exception() for call in calls]

    assert breaker.cooldown_s == 20


async def test_it_guards_locating_and_tracking_as_one() -> None:
    ability = Ability()
    provider = guarded(Provider(name=NAME, configured=True, locator=ability, tracker=ability), after=2, cooldown_s=60)
    assert provider.locator is not None
    assert provider.tracker is not None
    ability.error = ProviderUnavailable()
    with pytest.raises(ProviderUnavailable):
        await provider.locator.locate(QUERY, request_id="r", deadline=SOON)
    with pytest.raises(ProviderUnavailable):
        await provider.tracker.stop(AccountName("a"), TransactionId("t"), [], deadline=SOON)

    for refused in (
        provider.locator.locate(QUERY, request_id="r", deadline=SOON),
        provider.locator.locate_many([QUERY], request_id="r", deadline=SOON),
        provider.tracker.start(
            PeriodicPlan(account=AccountName("a"), devices=(), interval_s=1, count=1), deadline=SOON
        ),
    ):
        with pytest.raises(ProviderUnavailable, match="cooling down"):
            await refused

    assert ability.calls == 2


async def test_the_state_shows_until_it_is_reset() -> None:
    ability = Ability()
    ability.error = ProviderUnavailable()
    provider = guarded(Provider(name=NAME, configured=True, locator=ability), after=1, cooldown_s=60)
    assert provider.locator is not None
    with pytest.raises(ProviderUnavailable):
        await provider.locator.locate(QUERY, request_id="r", deadline=SOON)

    cooling, measured = provider.health(), generate_latest(metrics.REGISTRY).decode()
    await provider.reset()

    assert (cooling.state, round(cooling.cooldown_s or 0)) == ("cooling_down", 60)
    assert 'gateway_provider_cooling_down{provider="beacon"} 1.0' in measured
    assert provider.health().state == "ready"


async def test_what_is_worse_than_cooling_down_shows_instead() -> None:
    ability = Ability()
    ability.error = ProviderUnavailable()
    plain = Provider(name=NAME, configured=True, locator=ability, health=lambda: Health(state="paused"))
    provider = guarded(plain, after=1, cooldown_s=60)
    assert provider.locator is not None
    with pytest.raises(ProviderUnavailable):
        await provider.locator.locate(QUERY, request_id="r", deadline=SOON)

    assert provider.health().state == "paused"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        pytest.param([ProviderUnavailable(), ProviderUnavailable()], "cooling_down", id="all failed"),
        pytest.param([ProviderUnavailable(), UnableToLocate()], "ready", id="one was answered"),
        pytest.param([ProviderUnavailable(), Located(fix=None)], "ready", id="one was located"),  # type: ignore[arg-type]  # nobody looks at it
    ],
)
async def test_of_many_answers_one_is_enough(answers: list[Located | GatewayError], expected: str) -> None:
    ability = Ability()
    ability.answers = answers
    provider = guarded(Provider(name=NAME, configured=True, locator=ability), after=1, cooldown_s=60)
    assert provider.locator is not None

    given = await provider.locator.locate_many([QUERY, QUERY], request_id="r", deadline=SOON)

    assert (given, provider.health().state) == (answers, expected)


async def test_what_a_provider_cannot_do_stays_so() -> None:
    provider = guarded(Provider(name=NAME, configured=True, tracker=Ability()), after=1, cooldown_s=60)

    assert provider.locator is None
    assert provider.tracker is not None
    assert provider.tracker.stop_limit == 7
