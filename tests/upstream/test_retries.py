"""Which calls are repeated, and which never."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
import stamina

from app.errors import ProviderError, ProviderRefused, ProviderThrottled, ProviderTimeout, ProviderUnavailable
from app.model import Deadline, ProviderName
from app.provider import Vault
from app.upstream import InMemoryVault, retry_after_s, wait_for_turn_s, with_retries

SOON = datetime(2026, 3, 2, 8, 14, 55, tzinfo=UTC)
ACME = ProviderName("acme")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with stamina.set_testing(testing=True, attempts=100, cap=True):
        yield


class Provider:
    """Fails as often as told to, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors = list(errors)

    async def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


async def test_a_call_that_succeeds_is_made_once() -> None:
    provider = Provider()

    assert await with_retries(provider, attempts=3, deadline=Deadline.after(60)) == "answer"
    assert provider.calls == 1


@pytest.mark.parametrize("error", [ProviderUnavailable, ProviderThrottled])
async def test_a_call_that_was_not_received_is_repeated(error: type[ProviderError]) -> None:
    provider = Provider(error(), error())

    assert await with_retries(provider, attempts=3, deadline=Deadline.after(60)) == "answer"
    assert provider.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ProviderUnavailable(may_have_been_received=True), id="may have been received"),
        pytest.param(ProviderThrottled(may_have_been_received=True), id="throttled after being received"),
        pytest.param(ProviderTimeout(may_have_been_received=True), id="timed out"),
        pytest.param(ProviderRefused(), id="refused"),
        pytest.param(KeyError("ours"), id="a mistake of our own"),
        pytest.param(ProviderThrottled(retry_after_s=3600), id="to come back after the deadline"),
    ],
)
async def test_a_call_is_not_repeated_when(error: Exception) -> None:
    provider = Provider(error)

    with pytest.raises(type(error)):
        await with_retries(provider, attempts=3, deadline=Deadline.after(60))

    assert provider.calls == 1


async def test_a_call_is_repeated_no_more_often_than_allowed() -> None:
    errors = [ProviderUnavailable(str(number)) for number in range(9)]
    provider = Provider(*errors)

    with pytest.raises(ProviderUnavailable) as caught:
        await with_retries(provider, attempts=3, deadline=Deadline.after(60))

    assert provider.calls == 3
    assert caught.value is errors[2]


@pytest.mark.parametrize("attempts", [0, 1])
async def test_one_attempt_is_no_repetition(attempts: int) -> None:
    provider = Provider(ProviderUnavailable())

    with pytest.raises(ProviderUnavailable):
        await with_retries(provider, attempts=attempts, deadline=Deadline.after(60))

    assert provider.calls == 1


async def test_nothing_is_repeated_once_the_time_is_over() -> None:
    provider = Provider(ProviderUnavailable())

    with pytest.raises(ProviderError):
        await with_retries(provider, attempts=3, deadline=Deadline.after(0))

    assert provider.calls == 1


async def test_a_failure_that_comes_later_may_be_final() -> None:
    provider = Provider(ProviderUnavailable(), ProviderUnavailable(may_have_been_received=True))

    with pytest.raises(ProviderUnavailable) as caught:
        await with_retries(provider, attempts=5, deadline=Deadline.after(60))

    assert provider.calls == 2
    assert caught.value.may_have_been_received


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 02 Mar 2026 08:15:25 GMT", 30.0),
        ("Mon, 02 Mar 2026 09:15:25 +0100", 30.0),
        ("Mon, 02 Mar 2026 08:00:00 GMT", 0.0),
        ("31536000", 3600.0),
        ("9" * 400, 3600.0),
        ("Thu, 02 Mar 2126 08:15:25 GMT", 3600.0),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(value: str, seconds: float | None) -> None:
    response = httpx.Response(503, headers={"Retry-After": value})

    assert retry_after_s(response, now=SOON) == seconds


def test_without_retry_after_there_is_none() -> None:
    assert retry_after_s(httpx.Response(503)) is None


@pytest.mark.parametrize(
    ("latest", "wait_s"),
    [
        pytest.param((), 0, id="never before"),
        pytest.param((90.0, 95.0), 0, id="not as often"),
        pytest.param((80.0, 90.0, 95.0), 40, id="as often"),
        pytest.param((40.0, 90.0, 95.0), 0, id="long ago"),
        pytest.param((500.0, 501.0, 502.0), 0, id="by a clock ahead"),
    ],
)
def test_what_was_done_too_often_has_to_wait(latest: tuple[float, ...], wait_s: float) -> None:
    assert wait_for_turn_s(latest, 100.0, most=3, per_s=60) == wait_s


async def test_a_private_vault_keeps_what_was_put_in() -> None:
    vault: Vault = InMemoryVault()

    async with vault.locked(ACME, "token", sealed_with=b"key") as slot:
        assert slot.value is None
        await slot.put(b"secret")

    assert await vault.read(ACME, "token", sealed_with=b"key") == b"secret"


async def test_a_private_vault_forgets_what_was_taken_out() -> None:
    vault: Vault = InMemoryVault()
    async with vault.locked(ACME, "token", sealed_with=b"key") as slot:
        await slot.put(b"secret")

    async with vault.locked(ACME, "token", sealed_with=b"key") as slot:
        await slot.put(None)

    assert await vault.read(ACME, "token", sealed_with=b"key") is None
