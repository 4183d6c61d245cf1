import asyncio
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cloudlocate_stage import REPLY, MakeLocator, by_wifi, make_settings, soon

from app.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    UnexpectedReply,
)
from app.model import Deadline
from app.providers.cloudlocate.client import CloudLocate
from app.providers.cloudlocate.oauth import TokenSource
from app.upstream import http_client

TOKEN_URL = "https://cloudlocate.example/token"


class Issuer:
    """Issues tokens and takes them; a token counts until it is revoked."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str | None] = []
        self.positions = 0
        self.valid: set[str] = set()
        self.grants: dict[str, Any] = {"expires_in": 3600}
        self.refusals: list[httpx.Response | Exception] = []
        self.takes_tokens = True
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return await self._issue(request)
        self.positions += 1
        scheme, _, token = request.headers["authorization"].partition(" ")
        if scheme != "Bearer" or token not in self.valid or not self.takes_tokens:
            return httpx.Response(401)
        return httpx.Response(200, json=REPLY)

    async def _issue(self, request: httpx.Request) -> httpx.Response:
        self.forms.append({name: one for name, (one,) in parse_qs(request.content.decode()).items()})
        self.authorizations.append(request.headers.get("authorization"))
        self.asked.set()
        await self.may_answer.wait()
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            return refusal
        token = f"token-{len(self.forms)}"
        self.valid.add(token)
        return httpx.Response(200, json={"access_token": token, "token_type": "bearer"} | self.grants)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def cloudlocate(issuer: Issuer, locator: Callable[..., CloudLocate]) -> CloudLocate:
    return locator(issuer, auth="oauth2", token_url=TOKEN_URL)


def source(issuer: Issuer, clock: Callable[[], float], **changes: Any) -> TokenSource:
    settings = make_settings(auth="oauth2", token_url=TOKEN_URL, **changes)
    http = http_client(httpx.MockTransport(issuer), connect_timeout_s=1, max_connections=10)
    return TokenSource(http, settings, clock)


async def ask(cloudlocate: CloudLocate, times: int = 1) -> None:
    await asyncio.gather(*(cloudlocate.locate(by_wifi(), request_id="r", deadline=soon()) for _ in range(times)))


async def test_sixty_callers_at_once_share_one_token(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    await ask(cloudlocate, 60)

    assert len(issuer.forms) == 1
    assert issuer.positions == 60


async def test_forty_callers_with_a_revoked_token_share_one_renewal(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    await ask(cloudlocate)
    issuer.valid.clear()

    await ask(cloudlocate, 40)

    assert len(issuer.forms) == 2


async def test_a_token_that_is_rejected_again_is_a_fault_of_the_credentials(
    cloudlocate: CloudLocate, issuer: Issuer
) -> None:
    issuer.takes_tokens = False

    with pytest.raises(ProviderMisconfigured):
        await ask(cloudlocate)

    assert issuer.positions == 2
    assert len(issuer.forms) == 2


@pytest.mark.parametrize(
    ("changes", "form", "authorization"),
    [
        ({}, {"grant_type": "client_credentials"}, b"thing:secret"),
        (
            {"token_grant": "password"},
            {"grant_type": "password", "username": "thing", "password": "secret"},
            b"thing:secret",
        ),
        (
            {"token_client_auth": "form"},
            {"grant_type": "client_credentials", "client_id": "thing", "client_secret": "secret"},
            None,
        ),
    ],
)
async def test_the_first_token_is_asked_for_as_configured(
    changes: dict[str, Any], form: dict[str, str], authorization: bytes | None, issuer: Issuer
) -> None:
    await source(issuer, lambda: 0, **changes).token()

    assert issuer.forms == [form]
    assert issuer.authorizations == [authorization and "Basic " + b64encode(authorization).decode()]


@pytest.mark.parametrize(
    ("grants", "still_good_s", "over_s"),
    [
        ({"expires_in": 3600}, 3569, 3570),
        ({"expires_in": "3600"}, 3569, 3570),
        ({}, 269, 270),
        ({"expires_in": "soon"}, 269, 270),
        ({"expires_in": 0}, 269, 270),
        ({"expires_in": 20}, 9, 10),
    ],
)
async def test_a_token_is_renewed_a_margin_before_it_expires(
    grants: dict[str, Any], still_good_s: float, over_s: float, issuer: Issuer
) -> None:
    now = 1000.0
    issuer.grants = grants
    tokens = source(issuer, lambda: now)
    await tokens.token()

    now = 1000.0 + still_good_s
    assert await tokens.token() == "token-1"
    now = 1000.0 + over_s
    assert await tokens.token() == "token-2"


async def test_a_refresh_token_renews(issuer: Issuer) -> None:
    now = 0.0
    issuer.grants = {"expires_in": 100, "refresh_token": "again"}
    tokens = source(issuer, lambda: now)
    await tokens.token()

    now = 100
    await tokens.token()

    assert issuer.forms[1] == {"grant_type": "refresh_token", "refresh_token": "again"}


@pytest.mark.parametrize("refusal", [httpx.Response(400, json={"error": "invalid_grant"}), httpx.Response(500)])
async def test_when_renewal_fails_it_starts_over(refusal: httpx.Response | Exception, issuer: Issuer) -> None:
    now = 0.0
    issuer.grants = {"expires_in": 100, "refresh_token": "again"}
    tokens = source(issuer, lambda: now)
    await tokens.token()
    issuer.refusals = [refusal]

    now = 100
    token = await tokens.token()

    assert token == "token-3"
    assert issuer.forms[2] == {"grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (httpx.Response(400, json={"error": "invalid_client"}), ProviderMisconfigured),
        (httpx.Response(401), ProviderMisconfigured),
        (httpx.Response(404), ProviderMisconfigured),
        (httpx.Response(429), ProviderThrottled),
        (httpx.Response(500), ProviderUnavailable),
        (httpx.ConnectError("refused"), ProviderUnavailable),
        (httpx.ReadTimeout("slow"), ProviderTimeout),
        (httpx.Response(200, text="<html>"), UnexpectedReply),
        (httpx.Response(200, json={"token": "x"}), UnexpectedReply),
        (httpx.Response(200, json={"access_token": ""}), UnexpectedReply),
        (httpx.Response(200, json={"access_token": "two\r\nlines"}), UnexpectedReply),
    ],
)
async def test_a_token_that_cannot_be_had_is_the_providers_error(
    refusal: httpx.Response | Exception, error: type[ProviderError], issuer: Issuer, locator: MakeLocator
) -> None:
    issuer.refusals = [refusal]

    with pytest.raises(ProviderError) as caught:
        await ask(locator(issuer, auth="oauth2", token_url=TOKEN_URL, max_retries=0))

    assert type(caught.value) is error
    assert issuer.positions == 0


async def test_wrong_credentials_are_shown_once_however_many_wait(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    issuer.refusals = [httpx.Response(401)] * 60

    outcomes = await asyncio.gather(
        *(cloudlocate.locate(by_wifi(), request_id="r", deadline=soon()) for _ in range(60)), return_exceptions=True
    )

    assert len(issuer.forms) == 1
    assert all(isinstance(outcome, ProviderMisconfigured) for outcome in outcomes)
    assert len(set(map(id, outcomes))) == 60


async def test_secrets_do_not_reach_the_error(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    issuer.refusals = [httpx.Response(401, json={"error_description": "client thing with secret is unknown"})]

    with pytest.raises(ProviderMisconfigured) as caught:
        await ask(cloudlocate)

    assert caught.value.vendor_message == "client *** with *** is unknown"


async def test_a_caller_whose_time_is_up_does_not_take_the_token_from_the_others(
    cloudlocate: CloudLocate, issuer: Issuer
) -> None:
    issuer.may_answer.clear()
    hasty = asyncio.create_task(cloudlocate.locate(by_wifi(), request_id="r", deadline=Deadline.after(0.01)))
    patient = asyncio.create_task(cloudlocate.locate(by_wifi(), request_id="r", deadline=soon()))

    with pytest.raises(ProviderTimeout):
        await hasty
    issuer.may_answer.set()
    await patient

    assert len(issuer.forms) == 1


async def test_closing_ends_a_fetch_under_way(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    issuer.may_answer.clear()
    asked = asyncio.create_task(ask(cloudlocate))
    await issuer.asked.wait()

    await cloudlocate.aclose()

    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_health_tells_how_old_the_token_is(issuer: Issuer) -> None:
    now = 5.0
    tokens = source(issuer, lambda: now)
    assert tokens.age_s is None

    await tokens.token()
    now = 12.0

    assert tokens.age_s == 7


async def test_a_reset_forgets_the_token(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    await ask(cloudlocate)

    await cloudlocate.reset()
    await ask(cloudlocate)

    assert [form["grant_type"] for form in issuer.forms] == ["client_credentials"] * 2


async def test_where_fresh_tokens_are_refused_only_a_few_are_fetched(cloudlocate: CloudLocate, issuer: Issuer) -> None:
    issuer.takes_tokens = False

    for _ in range(20):
        with pytest.raises(ProviderError) as caught:
            await ask(cloudlocate)

    assert len(issuer.forms) <= 4
    assert type(caught.value) is ProviderUnavailable
    assert 0 < (caught.value.retry_after_s or 0) <= 60


async def test_however_long_a_wait_is_named_a_token_is_asked_for_after_minutes(issuer: Issuer) -> None:
    now = 0.0
    tokens = source(issuer, lambda: now)
    issuer.refusals = [httpx.Response(429, headers={"Retry-After": "31536000"})]
    with pytest.raises(ProviderThrottled):
        await tokens.token()
    with pytest.raises(ProviderUnavailable) as caught:
        await tokens.token()

    now += 300

    assert caught.value.retry_after_s == 300
    assert await tokens.token() == "token-2"


async def test_a_broken_token_call_leaves_no_doubt_about_the_call_itself(
    cloudlocate: CloudLocate, issuer: Issuer
) -> None:
    issuer.refusals = [httpx.ReadError("reset")] * 9

    with pytest.raises(ProviderUnavailable) as caught:
        await ask(cloudlocate)

    assert not caught.value.may_have_been_received
