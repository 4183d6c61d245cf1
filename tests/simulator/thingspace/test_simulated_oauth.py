import pytest
from thingspace_caller import Caller

from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.world.clock import ManualClock


async def test_the_same_token_is_handed_out_until_its_hour_is_over(stranger: Caller) -> None:
    first = (await stranger.token()).json()

    await stranger.clock.advance(3590)
    second = (await stranger.token()).json()
    await stranger.clock.advance(10)
    third = (await stranger.token()).json()

    assert first["expires_in"] == 3600
    assert (second["access_token"], second["expires_in"]) == (first["access_token"], 10)
    assert third["access_token"] != first["access_token"]


@pytest.mark.parametrize("auth", [("simulator-key", "wrong"), None], ids=["wrong secret", "no credentials"])
async def test_a_client_without_the_right_credentials_is_invalid(
    stranger: Caller, auth: tuple[str, str] | None
) -> None:
    answer = await stranger.token(auth=auth)

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("form", "error"), [({}, "invalid_request"), ({"grant_type": "password"}, "unsupported_grant_type")]
)
async def test_only_client_credentials_are_granted(stranger: Caller, form: dict[str, str], error: str) -> None:
    answer = await stranger.token(data=form)

    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_undecodable_basic_credentials_are_invalid(stranger: Caller) -> None:
    answer = await stranger.token(auth=None, headers={"Authorization": "Basic ***"})

    assert answer.status_code == 401


async def test_revoking_makes_the_next_token_a_new_one(stranger: Caller) -> None:
    old = (await stranger.token()).json()["access_token"]

    revoked = await stranger.http.post(
        "/api/ts/v1/oauth2/revoke",
        auth=("simulator-key", "simulator-secret"),
        data={"grant_type": "client_credentials", "token": old},
    )

    assert (revoked.status_code, revoked.content, revoked.headers["RevokedAccessToken"]) == (200, b"", old)
    assert (await stranger.token()).json()["access_token"] != old


async def test_revoking_needs_a_token(stranger: Caller) -> None:
    answer = await stranger.http.post(
        "/api/ts/v1/oauth2/revoke",
        auth=("simulator-key", "simulator-secret"),
        data={"grant_type": "client_credentials"},
    )

    assert answer.json()["error"] == "invalid_request"


async def test_a_call_without_a_bearer_lacks_credentials(caller: Caller) -> None:
    del caller.headers["Authorization"]

    answer = await caller.locate(caller.device())

    assert (answer.status_code, answer.json()["fault"]["code"]) == (401, "900902")


async def test_a_call_with_an_expired_bearer_has_invalid_credentials(caller: Caller) -> None:
    await caller.clock.advance(3600)

    answer = await caller.locate(caller.device())

    assert (answer.status_code, answer.json()["fault"]["code"]) == (401, "900901")


async def test_an_early_revocation_ends_the_token_for_good(caller: Caller) -> None:
    caller.fault("bearer_revoked")

    answers = [await caller.locate(caller.device()) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [401, 401]


async def test_a_single_refusal_leaves_the_token_valid(caller: Caller) -> None:
    caller.fault("bearer_refused")

    answers = [await caller.locate(caller.device(), cacheMode="2") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [401, 200]


async def test_the_fault_can_come_with_a_number_or_as_xml(caller: Caller) -> None:
    caller.fault("bearer_revoked", value="number")
    caller.fault("bearer_revoked", value="xml")

    number, xml = [await caller.locate(caller.device()) for _ in range(2)]

    assert number.json()["fault"]["code"] == 900901
    assert xml.headers["content-type"].startswith("application/xml")
    assert "<am:code>900901</am:code>" in xml.text


async def test_tokens_can_be_short_lived_or_silent_about_their_expiry(stranger: Caller) -> None:
    stranger.fault("bearer_short_lived", value=3)
    stranger.fault("bearer_without_expiry")

    silent, short = (await stranger.token()).json(), (await stranger.token()).json()

    assert "expires_in" not in silent
    assert short["expires_in"] == 3


async def test_a_client_can_be_rejected_on_request(stranger: Caller) -> None:
    stranger.fault("client_rejected")

    assert (await stranger.token()).status_code == 401
    assert (await stranger.token()).status_code == 200


async def test_runs_with_the_same_seed_and_clock_hand_out_the_same_tokens(options: Options, clock: ManualClock) -> None:

    one, other = (Identifiers(State.begin(options, clock)) for _ in range(2))

    assert one.guid("session") == other.guid("session")
