"""What is paid for arrives, and how much a time-out says about the provider."""

import asyncio

import pytest

from app.errors import ProviderTimeout, UnableToLocate
from app.model import Deadline, ProviderName
from app.upstream import CallTimes, PaidCalls, part_of

ACME = ProviderName("acme")


@pytest.fixture
def times() -> CallTimes:
    return CallTimes(ACME)


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def timed_out(calls: PaidCalls, times: CallTimes, call_s: float, timeout_s: float) -> ProviderTimeout:
    with pytest.raises(ProviderTimeout) as caught:
        await calls.answer_to(after(call_s), times=times, deadline=Deadline.after(timeout_s))
    return caught.value


async def test_an_answer_in_time_is_the_answer(times: CallTimes) -> None:
    calls = PaidCalls(ACME, limit_s=60)

    assert await calls.answer_to(after(0.01), times=times, deadline=Deadline.after(10)) == "answer"
    assert times.longest_s > 0.005  # loops wake up a little early


async def test_a_call_goes_on_after_the_deadline(times: CallTimes) -> None:
    error = await timed_out(PaidCalls(ACME, limit_s=60), times, 0.2, 0.05)

    assert error.may_have_been_received
    assert error.late is not None
    assert await error.late == "answer"


async def test_a_call_goes_on_after_the_providers_own_limit(times: CallTimes) -> None:
    error = await timed_out(PaidCalls(ACME, limit_s=0.05), times, 0.2, 10)

    assert not error.is_hasty
    assert error.late is not None
    assert await error.late == "answer"


async def test_a_call_goes_on_when_its_caller_is_gone(times: CallTimes) -> None:
    answered = asyncio.Event()

    async def call() -> None:
        await asyncio.sleep(0.1)
        answered.set()

    caller = asyncio.create_task(PaidCalls(ACME, limit_s=60).answer_to(call(), times=times, deadline=Deadline.after(9)))
    await asyncio.sleep(0.01)
    caller.cancel()

    async with asyncio.timeout(5):
        await answered.wait()


async def test_a_caller_who_gives_less_time_than_a_call_may_take_is_hasty(times: CallTimes) -> None:
    error = await timed_out(PaidCalls(ACME, limit_s=60), times, 0.2, 0.05)

    assert error.is_hasty


async def test_calls_that_are_given_up_end(times: CallTimes) -> None:
    calls = PaidCalls(ACME, limit_s=60)
    error = await timed_out(calls, times, 30, 0.05)

    await calls.aclose()

    assert error.late is not None
    assert error.late.cancelled()


async def test_each_part_of_a_late_answer_fails_or_succeeds_by_itself() -> None:
    whole: asyncio.Future[dict[str, str]] = asyncio.Future()

    def fail(_: dict[str, str]) -> str:
        raise UnableToLocate

    good, bad = part_of(whole, lambda answer: answer["a"]), part_of(whole, fail)
    whole.set_result({"a": "answer"})

    assert await good == "answer"
    with pytest.raises(UnableToLocate):
        await bad
