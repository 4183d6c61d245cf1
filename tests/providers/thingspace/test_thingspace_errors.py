import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thingspace_stand_in import ACCOUNT, IMEI, MDN, StandIn, failure, in_turn, position, query, refusal, soon

from app.errors import (
    AllowanceUsedUp,
    ConsentRequired,
    DeviceNotOwned,
    DeviceUnknown,
    DeviceUnreachable,
    ProviderError,
    ProviderMisconfigured,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    ServiceNotApplicable,
    UnableToLocate,
)
from app.model import Deadline, Located
from app.provider import Provider
from app.providers.thingspace.vendor_errors import to_fault, to_vendor_text

LOCATED = httpx.Response(200, json=[position()])


async def locate(provider: Provider, max_age_s: int | None = None, deadline: Deadline | None = None) -> Located:
    assert provider.locator
    return await provider.locator.locate(query(max_age_s), request_id="r", deadline=deadline or soon())


async def error_of(provider: Provider, max_age_s: int | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await locate(provider, max_age_s)
    assert caught.value.provider == "thingspace"
    return caught.value


@pytest.mark.parametrize(
    ("code", "message", "status", "kind"),
    [
        ("INVALID_PARAMETER", "Invalid JSON", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Device not found", 400, DeviceUnknown),
        ("CACHE_UNAVAILABLE", "Location cache has no data for this device", 400, UnableToLocate),
        ("INVALID_PARAMETER", "Conflicting device list", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Consent check failed", 400, ConsentRequired),
        ("INVALID_PARAMETER", "Ownership or MDN validation failed", 400, DeviceNotOwned),
        ("INVALID_PARAMETER", "UWS verification failure (Could not find account A)", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Device type check failed", 400, ServiceNotApplicable),
        ("INVALID_PARAMETER", "Invalid account name", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Unregistered account", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Invalid accuracy mode", 400, ProviderRefused),
        ("INVALID_PARAMETER", "Invalid cache mode", 400, ProviderRefused),
        ("INVALID_REQUEST", "Something", 400, ProviderRefused),
        ("CALLBACK_NOT_REGISTERED", "", 403, ProviderRefused),
        ("ACCOUNT_USAGE_EXCEEDED", "", 403, AllowanceUsedUp),
        ("INTERNAL_SYSTEM_ERROR", "", 500, ProviderUnavailable),
        ("DEVICE_NOT_FOUND", "", 400, DeviceUnknown),
        ("INVALID_ACCOUNT", "", 401, ProviderRefused),
        ("UnifiedWebService.REQUEST_FAILED.AccountNotFound", "", 400, ProviderRefused),
        ("UnifiedWebService.REQUEST_FAILED.AccountName", "", 400, ProviderRefused),
        ("DeviceService.INPUT_INVALID.Account.NotDefined", "", 400, ProviderRefused),
        ("UnifiedWebService.REQUEST_FAILED.UnexpectedError", "", 400, ProviderRefused),
        ("invalid_parameter", "CONSENT CHECK FAILED", 400, ConsentRequired),
    ],
)
async def test_service_errors_are_understood(
    provider: Provider, stand_in: StandIn, code: str, message: str, status: int, kind: type[ProviderError]
) -> None:
    stand_in.answer = in_turn(refusal(code, message, status))

    error = await error_of(provider)

    assert type(error) is kind
    assert error.vendor_code == code
    assert error.vendor_message == (message or None)
    assert len(stand_in.requests) == 1


@pytest.mark.parametrize(
    ("type_", "info", "kind"),
    [
        ("POSITION METHOD FAILURE", "Exception code=ABSENT SUBSCRIBER", DeviceUnreachable),
        ("TS DEVICE TYPE CHECK FAILED", "Specified device category is not IoT", ServiceNotApplicable),
        ("UNKNOWN SUBSCRIBER", "", DeviceUnknown),
        ("SYSTEM FAILURE", "", UnableToLocate),
        ("TIMEOUT", "", DeviceUnreachable),
        ("QOP NOT ATTAINABLE", "", UnableToLocate),
        ("POSITIONING NOT ALLOWED", "", ConsentRequired),
        ("CONGESTION IN MOBILE NETWORK", "", DeviceUnreachable),
        ("UNSPECIFIED ERROR", "", UnableToLocate),
        ("x", "Consent check failed", ConsentRequired),
        ("x", "ownership or mdn validation failed", DeviceNotOwned),
        ("never seen before", "?", UnableToLocate),
    ],
)
async def test_errors_of_a_device_are_understood(
    provider: Provider, stand_in: StandIn, type_: str, info: str, kind: type[ProviderError]
) -> None:
    stand_in.answer = in_turn(httpx.Response(200, json=[failure(type_, info)]))

    error = await error_of(provider)

    assert type(error) is kind
    assert error.vendor_code == type_


async def test_an_error_that_is_only_a_text_is_understood(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, json=[{"msid": MDN, "error": "ABSENT SUBSCRIBER"}]))

    assert type(await error_of(provider)) is DeviceUnreachable


XML = b"<am:fault xmlns:am='x'><am:code>900906</am:code><am:message>No matching resource</am:message></am:fault>"


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        pytest.param(httpx.Response(403, content=XML), ProviderRefused, "900906", id="XML 403"),
        pytest.param(httpx.Response(404, content=XML), ProviderRefused, "900906", id="XML 404"),
        pytest.param(httpx.Response(404, content=b"<html>"), ProviderRefused, "HTTP 404", id="HTML 404"),
        pytest.param(httpx.Response(400), ProviderRefused, "HTTP 400", id="empty 400"),
        pytest.param(httpx.Response(400, content=b"\xff\x00"), ProviderRefused, "HTTP 400", id="binary 400"),
        pytest.param(httpx.Response(400, json=[1]), ProviderRefused, "HTTP 400", id="array 400"),
        pytest.param(httpx.Response(400, content=b"[" * 100_000), ProviderRefused, "HTTP 400", id="deep 400"),
        pytest.param(
            httpx.Response(400, json={"fault": {"code": 900906, "message": "No matching resource"}}),
            ProviderRefused,
            "900906",
            id="JSON fault with a number",
        ),
        pytest.param(httpx.Response(302, headers={"Location": "/x"}), ProviderRefused, "HTTP 302", id="redirect"),
        pytest.param(httpx.Response(500, content=b"<html>"), ProviderUnavailable, "HTTP 500", id="HTML 500"),
        pytest.param(httpx.Response(599), ProviderUnavailable, "HTTP 599", id="599"),
        pytest.param(
            httpx.Response(401, json={"errorCode": "X", "errorMessage": "y"}), ProviderMisconfigured, None, id="401"
        ),
    ],
)
async def test_answers_from_elsewhere_keep_their_status(
    provider: Provider, stand_in: StandIn, answer: httpx.Response, kind: type[ProviderError], code: str | None
) -> None:
    stand_in.answer = in_turn(answer)

    error = await error_of(provider)

    assert type(error) is kind
    assert error.vendor_code == code


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.Response(429, headers={"Retry-After": "0"}), id="429 with Retry-After"),
        pytest.param(httpx.Response(503, headers={"Retry-After": "0"}), id="503 that names a time"),
        pytest.param(httpx.ConnectError("refused"), id="refused"),
        pytest.param(httpx.ConnectTimeout("slow"), id="no connection"),
    ],
)
@pytest.mark.parametrize("max_age_s", [None, 0])
async def test_what_cannot_have_begun_is_repeated(
    provider: Provider, stand_in: StandIn, trouble: Any, max_age_s: int | None
) -> None:
    stand_in.answer = in_turn(trouble, LOCATED)

    await locate(provider, max_age_s)

    assert len(stand_in.requests) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.Response(500), id="500"),
        pytest.param(httpx.Response(502, content=b"<html>"), id="502"),
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(504), id="504"),
        pytest.param(httpx.ReadTimeout("slow"), id="timeout"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.RemoteProtocolError("cut off"), id="cut off"),
        pytest.param(httpx.Response(200, content=b"[{"), id="truncated"),
    ],
)
@pytest.mark.parametrize("max_age_s", [None, 0])
async def test_what_may_have_been_billed_is_not_repeated(
    provider: Provider, stand_in: StandIn, trouble: Any, max_age_s: int | None
) -> None:
    stand_in.answer = in_turn(trouble, LOCATED)

    error = await error_of(provider, max_age_s)

    assert len(stand_in.requests) == 1
    assert error.may_have_been_received


async def test_the_free_cache_is_asked_again_after_a_break(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.ReadError("reset"), httpx.Response(504), LOCATED)

    await locate(provider, 10**9)

    assert stand_in.cache_modes == ["0", "0", "0"]


async def test_repetitions_end(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.ConnectError("refused"))

    assert type(await error_of(provider)) is ProviderUnavailable
    assert len(stand_in.requests) == 3


async def test_repetitions_can_be_turned_off(build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_RETRIES", "0")
    stand_in.answer = in_turn(httpx.ConnectError("refused"))

    await error_of(build())

    assert len(stand_in.requests) == 1


@pytest.mark.parametrize(
    "retry_after",
    [
        pytest.param(lambda: "120", id="seconds"),
        pytest.param(lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=121), usegmt=True), id="date"),
    ],
)
async def test_a_wait_beyond_the_deadline_is_handed_on(
    provider: Provider, stand_in: StandIn, retry_after: Callable[[], str]
) -> None:
    stand_in.answer = in_turn(httpx.Response(429, headers={"Retry-After": retry_after()}))

    error = await error_of(provider)

    assert type(error) is ProviderThrottled
    assert 60 < (error.retry_after_s or 0) <= 121
    assert len(stand_in.requests) == 1


async def test_a_used_up_allowance_is_not_asked_again(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(refusal("ACCOUNT_USAGE_EXCEEDED", "The allowance is used up", 403))

    await error_of(provider)

    assert len(stand_in.requests) == 1


async def test_the_deadline_ends_a_call(provider: Provider, stand_in: StandIn) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    stand_in.answer = never

    with pytest.raises(ProviderTimeout) as caught:
        await locate(provider, deadline=Deadline.after(0.3))

    assert caught.value.may_have_been_received


async def test_after_the_deadline_nothing_is_sent(provider: Provider, stand_in: StandIn) -> None:
    await locate(provider)

    with pytest.raises(ProviderTimeout) as caught:
        await locate(provider, deadline=Deadline.after(0))

    assert not caught.value.may_have_been_received
    assert len(stand_in.requests) == 1


async def test_health_tells_the_last_trouble_and_forgets_it_on_reset(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(500))
    for _ in range(3):
        await error_of(provider)
    health = provider.health()

    await provider.reset()

    assert (health.state, health.last_error) == ("failing", "PROVIDER_UNAVAILABLE")
    assert health.last_error_at is not None
    assert (provider.health().state, provider.health().last_error) == ("ready", None)


async def test_a_device_without_a_position_is_no_trouble_of_the_provider(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, json=[failure("X")]))
    for _ in range(4):
        await error_of(provider)

    assert provider.health().state == "ready"


async def test_an_unreadable_answer_is_trouble(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=b"<html>"))

    await error_of(provider)

    assert provider.health().last_error == "PROVIDER_BAD_RESPONSE"


async def test_vendor_words_show_neither_account_nor_identifiers(provider: Provider, stand_in: StandIn) -> None:
    message = f"Could not find account {ACCOUNT} for {IMEI}, +1 (508) 555-0101, A1000049D2C3E4 or TestAccount-1"
    stand_in.answer = in_turn(refusal("INVALID_PARAMETER", message))
    assert provider.locator

    with pytest.raises(ProviderRefused) as caught:
        await provider.locator.locate(query(account="TestAccount-1"), request_id="r", deadline=soon())

    assert caught.value.vendor_message == "Could not find account *** for ***, ***, *** or ***"


def test_vendor_words_are_cut_to_two_hundred_characters() -> None:
    assert len(to_vendor_text("word " * 100, "")) == 200


@given(st.binary())
def test_any_error_body_can_be_read(body: bytes) -> None:
    to_fault(body)
