import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from cloudlocate_stage import REPLY, Answer, MakeLocator, Vendor, by_wifi, soon
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderNotConfigured,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    UnableToLocate,
    UnexpectedReply,
)
from app.model import Deadline, Device, Evidence, LocationQuery
from app.providers.cloudlocate.rate_limiter import RateLimiter
from app.providers.cloudlocate.refusals import to_error

DECLINED = httpx.Response(503, headers={"Retry-After": "0"})


def saying(status: int, message: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"message": message})


@pytest.mark.parametrize(
    ("answer", "error", "calls"),
    [
        pytest.param(saying(400, "SignalStrength must be negative"), ProviderRefused, 1, id="400 about the body"),
        pytest.param(saying(400, "Unexpected token } in JSON"), ProviderRefused, 1, id="400 about a JSON token"),
        pytest.param(saying(400, "invalid token"), ProviderMisconfigured, 1, id="400 about a token"),
        pytest.param(saying(400, "Bad credentials"), ProviderMisconfigured, 1, id="400 about credentials"),
        pytest.param(saying(400, "Not authorised? Authorization!"), ProviderMisconfigured, 1, id="400 authorization"),
        pytest.param(saying(401), ProviderMisconfigured, 1, id="401"),
        pytest.param(saying(402), ProviderUnavailable, 1, id="402"),
        pytest.param(saying(403), ProviderUnavailable, 1, id="403"),
        pytest.param(saying(404, "Position not found"), UnableToLocate, 1, id="404 of the service"),
        pytest.param(saying(404, "no Route matched"), ProviderMisconfigured, 1, id="404 of a gateway"),
        pytest.param(httpx.Response(404, text="location not found"), ProviderMisconfigured, 1, id="404 not in JSON"),
        pytest.param(saying(405), ProviderMisconfigured, 1, id="405"),
        pytest.param(httpx.Response(302, headers={"Location": "/login"}), ProviderMisconfigured, 1, id="redirect"),
        pytest.param(saying(413), ProviderRefused, 1, id="413"),
        pytest.param(saying(415), ProviderRefused, 1, id="415"),
        pytest.param(saying(422), UnableToLocate, 1, id="422"),
        pytest.param(saying(429), ProviderThrottled, 3, id="429"),
        pytest.param(saying(500), ProviderUnavailable, 1, id="500"),
        pytest.param(saying(501), ProviderUnavailable, 1, id="501"),
        pytest.param(httpx.Response(502, text="<html>Bad gateway</html>"), ProviderUnavailable, 1, id="502 in HTML"),
        pytest.param(httpx.Response(503), ProviderUnavailable, 1, id="503 without a body"),
        pytest.param(DECLINED, ProviderUnavailable, 3, id="503 that names a time"),
        pytest.param(saying(504), ProviderUnavailable, 1, id="504"),
        pytest.param(httpx.ConnectError("refused"), ProviderUnavailable, 3, id="no connection"),
        pytest.param(httpx.ConnectTimeout("slow"), ProviderUnavailable, 3, id="connection too slow"),
        pytest.param(httpx.ReadTimeout("slow"), ProviderTimeout, 1, id="no answer"),
        pytest.param(httpx.ReadError("reset"), ProviderUnavailable, 1, id="reset"),
        pytest.param(httpx.RemoteProtocolError("cut off"), ProviderUnavailable, 1, id="cut off"),
        pytest.param(httpx.Response(200, text="<html>"), UnexpectedReply, 1, id="200 in HTML"),
        pytest.param(httpx.Response(200, content=b""), UnexpectedReply, 1, id="200 without a body"),
        pytest.param(httpx.Response(200, content=b'{"Location": {"Lat'), UnexpectedReply, 1, id="truncated"),
        pytest.param(
            httpx.Response(200, content=b'{"Location":' + b"[" * 99_999), UnexpectedReply, 1, id="nested too deeply"
        ),
        pytest.param(httpx.Response(400, content=b"[" * 99_999), ProviderRefused, 1, id="400 nested too deeply"),
        pytest.param(httpx.Response(200, json=[1]), UnexpectedReply, 1, id="no JSON object"),
    ],
)
async def test_failures_become_errors_and_only_those_that_cannot_be_billed_are_repeated(
    answer: Answer, error: type[ProviderError], calls: int, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(*[answer] * 5)

    with pytest.raises(ProviderError) as caught:
        await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert type(caught.value) is error
    assert caught.value.provider == "cloudlocate"
    assert len(vendor.requests) == calls


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_after_the_request_was_taken_says_so(status: int, locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(saying(status))

    with pytest.raises(ProviderUnavailable) as caught:
        await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert caught.value.may_have_been_received


async def test_a_repetition_that_succeeds_is_the_answer(locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(httpx.ConnectError("refused"), DECLINED)

    located = await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert located.fix.latitude_deg == REPLY["Location"]["Lat"]
    assert len(vendor.requests) == 3


@pytest.mark.parametrize("retries", [0, 1, 4])
async def test_repetitions_are_bounded_by_the_setting(retries: int, locator: MakeLocator, vendor: Vendor) -> None:
    vendor.will(*[DECLINED] * 9)

    with pytest.raises(ProviderUnavailable):
        await locator(max_retries=retries).locate(by_wifi(), request_id="r", deadline=soon())

    assert len(vendor.requests) == retries + 1


@pytest.mark.parametrize(
    ("retry_after", "calls"),
    [
        ("1", 2),
        ("0", 2),
        (format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True), 2),
        ("60", 1),
        pytest.param(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True), 1, id="in an hour"),
        ("soon", 2),
    ],
)
async def test_retry_after_is_honoured_when_it_ends_before_the_deadline(
    retry_after: str, calls: int, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(httpx.Response(429, headers={"Retry-After": retry_after}))
    query = by_wifi()

    if calls == 2:
        await locator().locate(query, request_id="r", deadline=soon())
    else:
        with pytest.raises(ProviderThrottled) as caught:
            await locator().locate(query, request_id="r", deadline=soon())
        assert caught.value.retry_after_s > 5

    assert len(vendor.requests) == calls


@pytest.mark.parametrize(("timeout_s", "deadline_s"), [(0.01, 60), (60, 0.01)])
async def test_neither_the_limit_of_an_attempt_nor_the_deadline_is_overrun(
    timeout_s: float, deadline_s: float, locator: MakeLocator
) -> None:
    async def silent(request: httpx.Request) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ProviderTimeout):
        await locator(silent, timeout_s=timeout_s).locate(
            by_wifi(), request_id="r", deadline=Deadline.after(deadline_s)
        )


async def test_without_an_address_it_judges_and_calls_nobody(locator: MakeLocator, vendor: Vendor) -> None:
    cloudlocate = locator(url=None)

    assert cloudlocate.assess(by_wifi()).usable
    with pytest.raises(ProviderNotConfigured):
        await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    assert not vendor.requests


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        pytest.param(
            saying(400, "WiFiMeasurements: at least 2 entries"), "WiFiMeasurements: at least 2 entries", id="ok"
        ),
        pytest.param(
            httpx.Response(400, json={"error": {"errors": [{"message": "bad MEAS50 frame"}]}}),
            "bad MEAS50 frame",
            id="nested",
        ),
        pytest.param(httpx.Response(400, text="plain  \n words"), "plain words", id="plain text"),
        pytest.param(httpx.Response(400, text="<html><p>Nginx</p>"), None, id="a web page"),
        pytest.param(httpx.Response(400, content=b"\xff\x00"), "�", id="bytes"),
        pytest.param(httpx.Response(400, json={"other": 1}), '{"other":1}', id="nothing known"),
        pytest.param(httpx.Response(400, json={"error": 7, "detail": "words"}), "words", id="a number first"),
        pytest.param(saying(400, "x " * 300), "x " * 100, id="long"),
    ],
)
async def test_the_vendors_words_are_handed_on(
    answer: Answer, shown: str | None, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(answer)

    with pytest.raises(ProviderRefused) as caught:
        await locator().locate(by_wifi(), request_id="r", deadline=soon())

    assert caught.value.vendor_message == shown
    assert caught.value.vendor_code == "400"


@given(st.binary(max_size=600) | st.text(max_size=600).map(str.encode))
def test_whatever_the_vendor_says_is_short_and_printable(body: bytes) -> None:
    error = to_error(httpx.Response(400, content=body))

    assert error.vendor_message is None or (len(error.vendor_message) <= 200 and error.vendor_message.isprintable())


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        ("Thing acme-fleet has no plan", "acme-fleet"),
        ("account 'Acme Logistics' is closed", "Acme"),
        ("user: acme is unknown", "acme"),
        ("thing is not a user", "thing"),
        ("RequestId my-request was seen", "my-request"),
        ("device pump-0417 unknown", "pump-0417"),
        ("PUMP-0417 unknown", "PUMP-0417"),
        ("02A1B2C3D4E5 is not in the map", "02A1B2C3D4E5"),
        ("02:a1:b2:c3:d4:ff is not in the map", "02:a1:b2:c3:d4:ff"),
        ("aa-bb-cc-dd-ee-ff is not in the map", "aa-bb-cc-dd-ee-ff"),
        ("imei 990001123456782 is blocked", "990001123456782"),
        ("near 48.137154, 11.576124", "48.137154"),
        ("mail ops@acme.example", "acme"),
        ("bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJ"),
        ("3f6a0c1e-5b1d-4c55-9a7e-0d2f6f1b9c10 failed", "3f6a0c1e"),
    ],
)
async def test_names_identifiers_and_what_we_sent_are_masked(
    words: str, secret: str, locator: MakeLocator, vendor: Vendor
) -> None:
    vendor.will(saying(422, words))
    evidence = Evidence(access_points=by_wifi().evidence.access_points)
    query = LocationQuery(device=Device(name="pump-0417"), evidence=evidence)

    with pytest.raises(UnableToLocate) as caught:
        await locator().locate(query, request_id="my-request", deadline=soon())

    assert "***" in caught.value.vendor_message
    assert secret not in caught.value.vendor_message


async def test_health_tells_of_the_last_failure_until_a_call_succeeds(locator: MakeLocator, vendor: Vendor) -> None:
    cloudlocate = locator()
    vendor.will(saying(500))
    assert cloudlocate.health().state == "ready"

    with pytest.raises(ProviderUnavailable):
        await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())
    failing = cloudlocate.health()
    await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    assert (failing.state, failing.last_error) == ("failing", "PROVIDER_UNAVAILABLE")
    assert cloudlocate.health().state == "ready"


async def test_finding_no_position_is_no_failure_of_the_provider(locator: MakeLocator, vendor: Vendor) -> None:
    cloudlocate = locator()
    vendor.will(saying(422))

    with pytest.raises(UnableToLocate):
        await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    assert cloudlocate.health().state == "ready"


async def test_an_operator_can_make_it_forget_the_last_failure(locator: MakeLocator, vendor: Vendor) -> None:
    cloudlocate = locator()
    vendor.will(saying(500))
    with pytest.raises(ProviderUnavailable):
        await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    await cloudlocate.reset()

    assert cloudlocate.health().last_error is None


async def test_calls_beyond_the_configured_rate_wait_for_their_turn_or_are_turned_away(
    locator: MakeLocator, vendor: Vendor
) -> None:
    cloudlocate = locator(rate_limit_rps=0.01)
    await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    with pytest.raises(ProviderThrottled) as caught:
        await cloudlocate.locate(by_wifi(), request_id="r", deadline=soon())

    assert caught.value.retry_after_s > 5
    assert len(vendor.requests) == 1


async def test_a_turn_that_comes_in_time_is_waited_for() -> None:
    pace = RateLimiter(per_second=1000)

    for _ in range(5):
        await pace.turn(soon())
