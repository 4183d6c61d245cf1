import uuid

import pytest
from thingspace_caller import Caller


async def test_a_session_is_a_guid_and_nothing_else(stranger: Caller) -> None:
    await stranger.enter()

    answer = (await stranger.login()).json()

    assert list(answer) == ["sessionToken"]
    assert uuid.UUID(answer["sessionToken"])


async def test_login_needs_a_bearer(stranger: Caller) -> None:
    answer = await stranger.login()

    assert answer.json()["fault"]["code"] == "900902"


async def test_a_session_lives_as_long_as_it_is_used(caller: Caller) -> None:
    for _ in range(2):
        await caller.clock.advance(1199)

        answer = await caller.locate(caller.device(), cacheMode="2")

        assert answer.status_code == 200


async def test_a_session_expires_after_twenty_idle_minutes(caller: Caller) -> None:
    await caller.clock.advance(1200)

    answer = await caller.locate(caller.device())

    assert answer.status_code == 400
    assert answer.json() == {
        "errorCode": "INVALID_PARAMETER",
        "errorMessage": "UWS verification failure (The Session has expired.)",
    }


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param(str(uuid.uuid4()), "REQUEST_FAILED.SessionToken.Expired", id="unknown"),
        pytest.param("made up", "INPUT_INVALID.SessionToken.Invalid", id="no GUID"),
        pytest.param("", "REQUEST_FAILED.SessionToken.Format", id="missing"),
    ],
)
async def test_the_connectivity_service_has_its_own_words_for_a_bad_session(
    caller: Caller, token: str, code: str
) -> None:
    headers = caller.headers | {"VZ-M2M-Token": token}

    answer = await caller.http.post("/api/m2m/v1/session/logout", headers=headers)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, f"UnifiedWebService.{code}")


@pytest.mark.parametrize("with_bearer", [True, False])
async def test_logout_ends_the_session_with_or_without_a_bearer(caller: Caller, *, with_bearer: bool) -> None:
    headers = dict(caller.headers)
    if not with_bearer:
        del headers["Authorization"]

    answer = await caller.http.post("/api/m2m/v1/session/logout", headers=headers)

    assert answer.json() == {"sessionToken": caller.headers["VZ-M2M-Token"]}
    assert "expired" in (await caller.locate(caller.device())).text


async def test_five_failures_in_a_row_lock_the_login_until_support_unlocks_it(caller: Caller) -> None:
    for _ in range(5):
        assert "Login.Invalid" in (await caller.login(password="wrong")).text

    locked = await caller.login()
    await caller.http.post("/control/thingspace/unlock")
    unlocked = await caller.login()

    assert (locked.status_code, locked.json()["errorCode"]) == (400, "UnifiedWebService.REQUEST_FAILED.Login.Locked")
    assert unlocked.status_code == 200


async def test_a_successful_login_forgets_earlier_failures(caller: Caller) -> None:
    for _ in range(2):
        for _ in range(4):
            await caller.login(username="wrong")

        assert (await caller.login()).status_code == 200


async def test_login_can_be_locked_or_rejected_on_request(caller: Caller) -> None:
    caller.fault("login_locked")
    caller.fault("login_rejected")

    answers = [await caller.login() for _ in range(3)]

    assert [answer.status_code for answer in answers] == [400, 400, 200]


async def test_a_login_that_is_no_json_object_is_refused(caller: Caller) -> None:
    answer = await caller.http.post("/api/m2m/v1/session/login", content=b"[", headers=caller.headers)

    assert (answer.status_code, "Json" in answer.text) == (400, True)


async def test_sessions_live_beside_each_other_unless_asked_otherwise(caller: Caller) -> None:
    await caller.login()
    assert (await caller.locate(caller.device(), cacheMode="2")).status_code == 200

    caller.fault("login_ends_others")
    await caller.login()

    assert "expired" in (await caller.locate(caller.device())).text


async def test_sessions_can_end_before_their_time(caller: Caller) -> None:
    caller.fault("session_expired")

    answers = [await caller.locate(caller.device()) for _ in range(2)]

    assert ["expired" in answer.text for answer in answers] == [True, True]


async def test_an_early_end_can_speak_the_words_of_the_connectivity_service(caller: Caller) -> None:
    caller.fault("session_expired", value="Format")

    answer = await caller.locate(caller.device())

    assert answer.json()["errorCode"] == "UnifiedWebService.REQUEST_FAILED.SessionToken.Format"


async def test_a_session_reply_can_state_its_lifetime(caller: Caller) -> None:
    caller.fault("session_expires_in")

    assert (await caller.login()).json()["expiresIn"] == 1200


async def test_a_password_reset_is_at_once_in_force(caller: Caller) -> None:
    path = "/api/m2m/v1/session/password/actions/reset"
    wrong = await caller.http.put(path, json={"oldPassword": "wrong"}, headers=caller.headers)
    right = await caller.http.put(path, json={"oldPassword": "simulator-password"}, headers=caller.headers)

    assert wrong.status_code == 400
    assert (await caller.login()).status_code == 400
    assert (await caller.login(password=right.json()["newPassword"])).status_code == 200
