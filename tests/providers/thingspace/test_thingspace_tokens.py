import asyncio
import contextlib
from typing import Any

import httpx
import msgspec
import pytest
from thingspace_stand_in import (
    AbsentVault,
    StandIn,
    gateway_fault,
    in_turn,
    position,
    query,
    refusal,
    session_expired,
    soon,
)

from app.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderNotConfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    Unavailable,
    UnexpectedReply,
)
from app.model import Deadline, Located
from app.provider import Provider
from app.providers import thingspace
from app.providers.thingspace import token_state, tokens
from app.upstream import InMemoryVault


async def locate(provider: Provider, deadline: Deadline | None = None) -> Located:
    assert provider.locator
    return await provider.locator.locate(query(), request_id="r", deadline=deadline or soon())


async def rejected(provider: Provider, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(ProviderMisconfigured):
            await locate(provider)


async def test_sixty_concurrent_first_requests_need_one_token_and_one_login(
    provider: Provider, stand_in: StandIn
) -> None:
    await asyncio.gather(*(locate(provider) for _ in range(60)))

    assert (stand_in.token_requests, stand_in.logins, len(stand_in.requests)) == (1, 1, 60)


async def test_forty_concurrent_expiries_need_one_login(provider: Provider, stand_in: StandIn) -> None:
    await locate(provider)
    stand_in.sessions.clear()

    await asyncio.gather(*(locate(provider) for _ in range(40)))

    assert (stand_in.token_requests, stand_in.logins) == (1, 2)


async def test_forty_concurrent_refusals_of_the_bearer_need_one_token_request(
    provider: Provider, stand_in: StandIn
) -> None:
    await locate(provider)
    stand_in.bearer = "bearer-2"

    await asyncio.gather(*(locate(provider) for _ in range(40)))

    assert (stand_in.token_requests, stand_in.logins) == (2, 1)


async def test_ten_replicas_with_one_vault_hold_one_session(build: Any, stand_in: StandIn) -> None:
    vault = InMemoryVault()

    await asyncio.gather(*(locate(build(vault)) for _ in range(10)))

    assert (stand_in.token_requests, stand_in.logins) == (1, 1)


async def test_replicas_whose_session_ends_share_the_next_one(build: Any, stand_in: StandIn) -> None:
    vault = InMemoryVault()
    replicas = [build(vault), build(vault)]
    await asyncio.gather(*map(locate, replicas))
    stand_in.sessions.clear()

    await asyncio.gather(*map(locate, replicas))

    assert stand_in.logins == 2


async def test_both_tokens_may_have_expired_at_once(provider: Provider, stand_in: StandIn) -> None:
    await locate(provider)
    stand_in.bearer = "bearer-2"
    stand_in.sessions.clear()

    await locate(provider)

    assert (stand_in.token_requests, stand_in.logins) == (2, 2)


@pytest.mark.parametrize(
    "expiry",
    [
        pytest.param(session_expired(), id="location service"),
        pytest.param(
            refusal("UnifiedWebService.REQUEST_FAILED.SessionToken.Expired", "The Session has expired."), id="m2m"
        ),
        pytest.param(refusal("DeviceService.INPUT_INVALID.SessionToken.Invalid", "no GUID"), id="not a GUID"),
        pytest.param(refusal("UnifiedWebService.REQUEST_FAILED.SessionToken.Format", "missing"), id="no header"),
        pytest.param(refusal("X", "the session HAS EXPIRED"), id="only the message"),
    ],
)
async def test_every_form_of_an_expired_session_leads_to_one_login_and_one_repetition(
    provider: Provider, stand_in: StandIn, expiry: httpx.Response
) -> None:
    stand_in.answer = in_turn(expiry, httpx.Response(200, json=[position()]))

    await locate(provider)

    assert (stand_in.logins, len(stand_in.requests)) == (2, 2)


@pytest.mark.parametrize(
    "expiry",
    [
        pytest.param(gateway_fault("900901"), id="invalid"),
        pytest.param(gateway_fault(900902), id="missing, as a number"),
        pytest.param(httpx.Response(401, content=b"<am:fault><am:code>900901</am:code></am:fault>"), id="XML"),
        pytest.param(httpx.Response(401), id="no body"),
        pytest.param(httpx.Response(401, content=b"<html>"), id="HTML"),
    ],
)
async def test_every_form_of_an_expired_bearer_leads_to_one_token_request_and_one_repetition(
    provider: Provider, stand_in: StandIn, expiry: httpx.Response
) -> None:
    stand_in.answer = in_turn(expiry, httpx.Response(200, json=[position()]))

    await locate(provider)

    assert (stand_in.token_requests, stand_in.logins, len(stand_in.requests)) == (2, 1, 2)


@pytest.mark.parametrize("expiry", [session_expired(), gateway_fault()], ids=["session", "bearer"])
async def test_a_token_refused_right_after_its_renewal_is_not_renewed_again(
    provider: Provider, stand_in: StandIn, expiry: httpx.Response
) -> None:
    stand_in.answer = in_turn(expiry)

    await rejected(provider)

    assert len(stand_in.requests) == 2


async def test_many_requests_whose_bearer_stays_refused_ask_at_most_twice(
    provider: Provider, stand_in: StandIn
) -> None:
    stand_in.answer = in_turn(gateway_fault())

    await asyncio.gather(*(rejected(provider) for _ in range(20)))

    assert stand_in.token_requests <= 3


@pytest.mark.parametrize("expires_in", [3600, "3600", 2, "2", 0, -5, None, "soon", True])
async def test_any_expiry_of_the_bearer_is_understood(provider: Provider, stand_in: StandIn, expires_in: Any) -> None:
    stand_in.expires_in = expires_in

    await locate(provider)
    await locate(provider)

    assert stand_in.token_requests == 1


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def shared(ask: Any, vault: Any = None, **options: Any) -> tokens.SharedToken:
    return tokens.SharedToken("bearer", vault=vault or InMemoryVault(), credentials=b"c", ask=ask, **options)


def granting(*lasts_s: float | None) -> Any:
    """Grant tokens t1, t2, …"""
    count = 0

    async def ask(_: Deadline) -> token_state.TokenState:
        nonlocal count
        count += 1
        return token_state.TokenState(token=f"t{count}", lasts_s=lasts_s[min(count, len(lasts_s)) - 1])

    return ask


async def test_a_token_is_renewed_shortly_before_it_expires() -> None:
    clock = Clock()
    token = shared(granting(3600), clock=clock)
    assert await token.get(soon()) == "t1"

    clock.now += 3500
    before = await token.get(soon())
    clock.now += 80
    after = await token.get(soon())

    assert (before, after) == ("t1", "t2")


async def test_a_token_with_little_time_left_is_used_and_then_renewed() -> None:
    clock = Clock()
    token = shared(granting(4), clock=clock)
    assert await token.get(soon()) == "t1"

    clock.now += 3
    before = await token.get(soon())
    clock.now += 1
    after = await token.get(soon())

    assert (before, after) == ("t1", "t2")


async def test_a_session_idle_for_nineteen_minutes_counts_as_expired() -> None:
    clock = Clock()
    token = shared(granting(None), clock=clock, idle_limit_s=19 * 60)
    assert await token.get(soon()) == "t1"

    clock.now += 18 * 60
    token.accepted()
    clock.now += 18 * 60
    in_use = await token.get(soon())
    clock.now += 19 * 60
    idle = await token.get(soon())
    await token.aclose()

    assert (in_use, idle) == ("t1", "t2")


async def test_a_session_kept_alive_by_another_replica_is_not_replaced() -> None:
    clock, vault, ask = Clock(), InMemoryVault(), granting(None)
    busy = shared(ask, vault, clock=clock, idle_limit_s=19 * 60)
    idle = shared(ask, vault, clock=clock, idle_limit_s=19 * 60)
    assert [await busy.get(soon()), await idle.get(soon())] == ["t1", "t1"]
    for _ in range(5):
        clock.now += 6 * 60
        busy.accepted()
        assert busy._saving
        await busy._saving

    assert await idle.get(soon()) == "t1"


async def test_a_pause_that_a_clock_ahead_has_set_ends_when_the_clock_is_put_back() -> None:
    clock, outages = Clock(), iter([ProviderUnavailable("away", provider=thingspace.NAME, retry_after_s=30)])

    async def ask(_: Deadline) -> token_state.TokenState:
        for outage in outages:
            raise outage
        return token_state.TokenState(token="t1")

    token = shared(ask, clock=clock)
    clock.now += 3600
    with pytest.raises(ProviderUnavailable):
        await token.get(soon())
    paused_s = token.cooldown_s

    clock.now -= 3600

    assert (paused_s, token.cooldown_s) == (30, 0)
    assert await token.get(soon()) == "t1"


@pytest.mark.parametrize("named_s", [31_536_000, float("inf")], ids=["a year", "for good"])
async def test_however_long_a_wait_is_named_a_token_is_asked_for_after_minutes(named_s: float) -> None:
    clock, outages = Clock(), iter([ProviderThrottled(provider=thingspace.NAME, retry_after_s=named_s)])

    async def ask(_: Deadline) -> token_state.TokenState:
        for outage in outages:
            raise outage
        return token_state.TokenState(token="t1")

    token = shared(ask, clock=clock)
    with pytest.raises(ProviderThrottled):
        await token.get(soon())
    with pytest.raises(ProviderUnavailable) as caught:
        await token.get(soon())

    clock.now += 300

    assert caught.value.retry_after_s == 300
    assert await token.get(soon()) == "t1"


async def test_a_wait_of_a_year_that_is_stored_already_is_cut_short() -> None:
    clock, vault = Clock(), InMemoryVault()
    token = shared(granting(None), vault, clock=clock)
    stored = token_state.Record(failures=1, failed_at=clock.now, not_before=clock.now + 31_536_000)
    async with token._locked() as slot:
        await slot.put(msgspec.json.encode(stored))

    clock.now += 300

    assert await token.get(soon()) == "t1"


async def test_where_fresh_tokens_are_refused_only_a_few_are_asked_for_in_a_minute() -> None:
    clock, vault, ask = Clock(), InMemoryVault(), granting(None)
    replicas = [shared(ask, vault, clock=clock) for _ in range(3)]
    obtained = {await replicas[0].get(soon())}
    for number in range(60):
        replica = replicas[number % 3]
        clock.now += 0.5
        with contextlib.suppress(ProviderUnavailable):
            obtained.add(await replica.get(soon(), failed=replica._record.token))

    first_minute = set(obtained)
    clock.now += 60
    with contextlib.suppress(ProviderUnavailable):
        obtained.add(await replicas[0].get(soon()))

    assert first_minute == {"t1", "t2", "t3", "t4"}
    assert obtained == {"t1", "t2", "t3", "t4", "t5"}


async def test_where_fresh_sessions_are_refused_the_answer_says_so(provider: Provider, stand_in: StandIn) -> None:
    stand_in.forgets_sessions = True

    errors = await rejected_by_sessions(provider, times=40)

    assert stand_in.logins <= 4
    assert type(errors[-1]) is ProviderUnavailable
    assert 0 < (errors[-1].retry_after_s or 0) <= 60
    assert provider.health().state == "cooling_down"


async def rejected_by_sessions(provider: Provider, *, times: int) -> list[ProviderError]:
    errors = []
    for _ in range(times):
        with pytest.raises(ProviderError) as caught:
            await locate(provider)
        errors.append(caught.value)
    return errors


async def test_a_token_obtained_by_a_clock_ahead_is_replaced_when_it_is_refused() -> None:
    clock = Clock()
    token = shared(granting(3600), clock=clock, idle_limit_s=19 * 60)
    clock.now += 3600
    assert await token.get(soon()) == "t1"

    clock.now -= 3600

    assert await token.get(soon()) == "t1"
    assert await token.get(soon(), failed="t1") == "t2"


async def test_bad_credentials_are_tried_twice_and_never_again(provider: Provider, stand_in: StandIn) -> None:
    stand_in.password = "other"

    await rejected(provider, times=5)

    assert (stand_in.logins, provider.health().state) == (2, "paused")


async def test_a_burst_with_bad_credentials_is_one_login(provider: Provider, stand_in: StandIn) -> None:
    stand_in.password = "other"

    await asyncio.gather(*(rejected(provider) for _ in range(60)))

    assert stand_in.logins == 1


async def test_a_new_instance_on_the_same_vault_remembers_the_rejections(build: Any, stand_in: StandIn) -> None:
    stand_in.password = "other"
    vault = InMemoryVault()

    for _ in range(4):
        await rejected(build(vault))

    assert stand_in.logins == 2


async def test_the_error_of_a_rejected_login_shows_no_user_name(provider: Provider, stand_in: StandIn) -> None:
    stand_in.password = "other"

    with pytest.raises(ProviderMisconfigured) as caught:
        await locate(provider)

    assert caught.value.vendor_message == "Invalid *** name or password for ***"


async def test_a_rejected_oauth_client_is_tried_twice_and_never_again(
    build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINGSPACE_SECRET", "other")
    provider = build()

    await rejected(provider, times=4)

    assert (stand_in.token_requests, stand_in.logins, provider.health().state) == (2, 0, "paused")


async def test_new_credentials_end_the_pause(build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = InMemoryVault()
    stand_in.password = "new"
    await rejected(build(vault), times=3)

    monkeypatch.setenv("THINGSPACE_PASSWORD", "new")
    renewed = build(vault)
    await locate(renewed)

    assert renewed.health().state == "ready"


async def test_a_replica_with_old_credentials_stays_paused_after_one_with_new_ones_got_in(
    build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = InMemoryVault()
    stand_in.password = "new"
    await rejected(build(vault), times=2)
    monkeypatch.setenv("THINGSPACE_PASSWORD", "new")
    await locate(build(vault))

    monkeypatch.setenv("THINGSPACE_PASSWORD", "pass")
    await rejected(build(vault))

    assert stand_in.logins == 3


async def test_an_operator_ends_the_pause(build: Any, stand_in: StandIn) -> None:
    vault = InMemoryVault()
    provider, replica = build(vault), build(vault)
    stand_in.password = "other"
    await rejected(provider, times=2)
    await rejected(replica)
    stand_in.password = "pass"

    await provider.reset()
    await locate(provider)
    await locate(replica)

    assert (provider.health().state, replica.health().state, stand_in.logins) == ("ready", "ready", 3)


async def test_a_success_forgets_an_earlier_rejection(provider: Provider, stand_in: StandIn) -> None:
    for _ in range(3):
        stand_in.password = "other"
        await rejected(provider)
        stand_in.password = "pass"
        await locate(provider)
        stand_in.sessions.clear()

    assert stand_in.logins == 6


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refusal("UnifiedWebService.REQUEST_FAILED.LoginLocked", "The login is locked"), id="in words"),
        pytest.param(httpx.Response(423), id="by status"),
    ],
)
async def test_a_locked_login_pauses_at_once(provider: Provider, stand_in: StandIn, answer: httpx.Response) -> None:
    stand_in.on_login = in_turn(answer)

    await rejected(provider, times=3)

    assert (stand_in.logins, provider.health().state) == (1, "paused")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(400), id="400"),
        pytest.param(httpx.Response(401), id="401"),
        pytest.param(gateway_fault(), id="gateway fault"),
        pytest.param(refusal("X", "no", 401), id="401 by the service"),
        pytest.param(httpx.Response(403, content=b"<html>"), id="403 HTML"),
        pytest.param(refusal("X.Credentials", "wrong", 200), id="an error with status 200"),
    ],
)
async def test_a_login_refused_in_any_form_is_tried_twice_and_never_again(
    provider: Provider, stand_in: StandIn, answer: httpx.Response
) -> None:
    stand_in.on_login = in_turn(answer)

    await rejected(provider, times=4)

    assert stand_in.logins <= 2
    assert provider.health().state == "paused"


async def test_a_bearer_that_expired_at_the_login_is_renewed_for_it(provider: Provider, stand_in: StandIn) -> None:
    def expire(_: httpx.Request) -> httpx.Response:
        stand_in.bearer, stand_in.on_login = "bearer-2", None
        return gateway_fault()

    stand_in.on_login = expire

    await locate(provider)

    assert (stand_in.token_requests, stand_in.logins, provider.health().state) == (2, 2, "ready")


async def test_two_logins_refused_with_different_bearers_count_twice(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_login = in_turn(gateway_fault())
    bearers = iter(range(100))
    stand_in.on_token = lambda _: httpx.Response(200, json={"access_token": f"b{next(bearers)}"})

    await rejected(provider, times=3)

    assert stand_in.logins == 2


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_login_that_fails_on_their_side_is_no_rejection(
    provider: Provider, stand_in: StandIn, status: int
) -> None:
    stand_in.on_login = in_turn(httpx.Response(status, content=b"<html>"))
    with pytest.raises(ProviderUnavailable):
        await locate(provider)
    stand_in.on_login = None

    await locate(provider)

    assert provider.health().state == "ready"


async def test_a_login_that_keeps_timing_out_is_not_repeated_in_a_loop(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_login = in_turn(httpx.ReadTimeout("slow"))

    errors = []
    for _ in range(20):
        with pytest.raises((ProviderTimeout, ProviderUnavailable)) as caught:
            await locate(provider)
        errors.append(caught.value)

    assert stand_in.logins <= 4
    assert provider.health().state == "cooling_down"
    assert (errors[-1].retry_after_s or 0) > 0
    assert not errors[-1].may_have_been_received


async def test_a_reset_ends_the_cooldown(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_token = in_turn(httpx.Response(429, headers={"Retry-After": "600"}))
    with pytest.raises(ProviderThrottled) as caught:
        await locate(provider)
    assert caught.value.retry_after_s == 600
    with pytest.raises(ProviderUnavailable):
        await locate(provider)
    stand_in.on_token = None

    await provider.reset()
    await locate(provider)

    assert stand_in.token_requests == 2


async def test_an_answer_without_a_token_is_no_rejection(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_login = in_turn(httpx.Response(200, content=b"<html>"))
    with pytest.raises(UnexpectedReply):
        await locate(provider)
    stand_in.on_login = None

    await locate(provider)

    assert stand_in.logins == 2


async def test_a_token_endpoint_that_redirects_is_unavailable(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_token = in_turn(httpx.Response(302, headers={"Location": "https://elsewhere.example"}))

    with pytest.raises(ProviderUnavailable):
        await locate(provider)


async def test_a_caller_who_leaves_does_not_end_the_login_for_the_others(provider: Provider, stand_in: StandIn) -> None:
    hasty = asyncio.create_task(locate(provider))
    patient = asyncio.create_task(locate(provider))
    await asyncio.sleep(0)
    hasty.cancel()

    await patient

    assert stand_in.logins == 1


async def test_a_deadline_ends_the_wait_for_a_token(provider: Provider, stand_in: StandIn) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    stand_in.on_token = never

    with pytest.raises(ProviderTimeout) as caught:
        await locate(provider, Deadline.after(0.05))

    assert not caught.value.may_have_been_received


async def test_tokens_in_memory_keep_working_while_the_database_is_away(build: Any, stand_in: StandIn) -> None:
    vault = AbsentVault()
    provider = build(vault)
    await locate(provider)
    vault.away = True

    await locate(provider)

    assert stand_in.logins == 1


async def test_no_login_is_made_while_the_database_is_away(build: Any, stand_in: StandIn) -> None:
    vault = AbsentVault()
    vault.away = True

    with pytest.raises(Unavailable):
        await locate(build(vault))

    assert (stand_in.token_requests, stand_in.logins) == (0, 0)


async def test_a_token_that_could_not_be_saved_is_used_here(build: Any, stand_in: StandIn) -> None:
    vault = AbsentVault()
    vault.loses = True
    provider = build(vault)

    await locate(provider)
    await locate(provider)

    assert stand_in.logins == 1


async def test_rejections_that_could_not_be_saved_count_here(build: Any, stand_in: StandIn) -> None:
    vault = AbsentVault()
    vault.loses = True
    stand_in.password = "other"
    provider = build(vault)

    await rejected(provider, times=4)

    assert stand_in.logins == 2


async def test_a_vault_with_rubbish_in_it_is_an_empty_one(build: Any, stand_in: StandIn) -> None:
    vault = InMemoryVault()
    await locate(build(vault))
    for key in vault._values:
        vault._values[key] = b"\xff{"

    await locate(build(vault))

    assert stand_in.logins == 2


async def test_nothing_that_could_give_a_password_away_is_kept_in_clear(build: Any, stand_in: StandIn) -> None:
    vault = InMemoryVault()

    await locate(build(vault))

    kept = repr(vault._values)
    assert "'thingspace', 'session-" in kept
    assert "pass" not in kept.replace("session-", "")
    assert "secret" not in kept


async def test_without_credentials_nobody_is_called(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THINGSPACE_PASSWORD")
    provider = thingspace.build(stand_in.transport())

    with pytest.raises(ProviderNotConfigured):
        await locate(provider)
    await provider.aclose()

    assert (provider.configured, provider.health().state, stand_in.token_requests) == (False, "not_configured", 0)


async def test_closing_ends_a_login_under_way(build: Any, stand_in: StandIn) -> None:
    started = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    stand_in.on_login = never
    provider = build()
    waiting = asyncio.create_task(locate(provider))
    await started.wait()

    await provider.aclose()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_health_tells_the_age_of_the_tokens(provider: Provider) -> None:
    assert provider.health().token_age_s is None

    await locate(provider)

    assert provider.health().token_age_s is not None
