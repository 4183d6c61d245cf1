import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from app.simulator import create_simulator
from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.world.clock import ManualClock

POSITION, TOKEN = "/cloudlocate/v1/position", "/cloudlocate/v1/token"
USER, PASSWORD = "simulator-thing", "simulator-thing-password"
BODY = {"GNSSMeasurements": {"Payload": "tWIChBQAOZMrSy0rH6e9+4zOgOau+ZnY+yKnPg=="}}
CLIENT_CREDENTIALS = {"grant_type": "client_credentials", "client_id": USER, "client_secret": PASSWORD}


@pytest.fixture
async def client(simulator: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(simulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        yield client


async def obtain(client: httpx.AsyncClient, **form: str) -> dict[str, Any]:
    answer = await client.post(TOKEN, data=form or CLIENT_CREDENTIALS)
    answer.raise_for_status()
    return answer.json()


async def status_with(client: httpx.AsyncClient, authorization: str) -> int:
    return (await client.post(POSITION, json=BODY, headers={"Authorization": authorization})).status_code


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="none"),
        pytest.param(basic(f"{USER}:wrong"), id="wrong password"),
        pytest.param(basic(f"other:{PASSWORD}"), id="wrong user"),
        pytest.param(basic("nonsense"), id="no colon"),
        pytest.param("Basic !!!", id="no base64"),
        pytest.param("Bearer made-up", id="unknown token"),
        pytest.param("Digest x", id="other scheme"),
    ],
)
async def test_bad_credentials_get_401_with_a_challenge(client: httpx.AsyncClient, authorization: str) -> None:
    refused = await client.post(POSITION, json=BODY, headers={"Authorization": authorization})

    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith(("Basic", "Bearer"))


async def test_bad_credentials_can_get_400_as_at_the_sister_services() -> None:
    transport = httpx.ASGITransport(create_simulator(Options(cloudlocate_rejects_with=400)))
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        refused = await client.post(POSITION, json=BODY)

    assert refused.status_code == 400
    assert "token" in refused.json()["message"]


async def test_the_name_of_the_scheme_may_be_written_in_any_case(client: httpx.AsyncClient) -> None:
    assert await status_with(client, basic(f"{USER}:{PASSWORD}").replace("Basic", "basic")) == 200


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        pytest.param(CLIENT_CREDENTIALS, {}, id="client credentials in the form"),
        pytest.param(
            {"grant_type": "client_credentials"},
            {"Authorization": basic(f"{USER}:{PASSWORD}")},
            id="client credentials in the header",
        ),
        pytest.param({"grant_type": "password", "username": USER, "password": PASSWORD}, {}, id="password"),
    ],
)
async def test_a_granted_token_opens_the_position_call(
    client: httpx.AsyncClient, form: dict[str, str], headers: dict[str, str]
) -> None:
    granted = (await client.post(TOKEN, data=form, headers=headers)).json()

    assert granted["expires_in"] == 300
    assert await status_with(client, f"{granted['token_type']} {granted['access_token']}") == 200


async def test_a_token_expires(client: httpx.AsyncClient, clock: ManualClock) -> None:
    granted = await obtain(client)
    await clock.advance(299)
    before = await status_with(client, f"Bearer {granted['access_token']}")

    await clock.advance(1)

    assert (before, await status_with(client, f"Bearer {granted['access_token']}")) == (200, 401)


async def test_a_refresh_token_works_once(client: httpx.AsyncClient, clock: ManualClock) -> None:
    granted = await obtain(client)
    await clock.advance(1000)
    form = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}

    renewed = await obtain(client, **form)
    again = await client.post(TOKEN, data=form)

    assert await status_with(client, f"Bearer {renewed['access_token']}") == 200
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "headers", "status", "code"),
    [
        ({}, {}, 400, "invalid_request"),
        ({"grant_type": "client_credentials"}, {}, 401, "invalid_client"),
        ({**CLIENT_CREDENTIALS, "client_secret": "wrong"}, {}, 401, "invalid_client"),
        (CLIENT_CREDENTIALS, {"Authorization": "Basic !!!"}, 401, "invalid_client"),
        ({"grant_type": "password", "username": USER, "password": "wrong"}, {}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token"}, {}, 400, "invalid_grant"),
        ({"grant_type": "device_code"}, {}, 400, "unsupported_grant_type"),
    ],
)
async def test_a_bad_token_call_gets_the_code_that_oauth_has_for_it(
    client: httpx.AsyncClient, form: dict[str, str], headers: dict[str, str], status: int, code: str
) -> None:
    refused = await client.post(TOKEN, data=form, headers=headers)

    assert (refused.status_code, refused.json()["error"]) == (status, code)
    assert ("www-authenticate" in refused.headers) == (status == 401)


async def test_a_token_call_in_json_is_refused(client: httpx.AsyncClient) -> None:
    refused = await client.post(TOKEN, json=CLIENT_CREDENTIALS)

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


async def test_a_revoked_token_stays_revoked(client: httpx.AsyncClient, state: State) -> None:
    granted = await obtain(client)
    state.faults.put("cloudlocate_token_revoked")

    statuses = [await status_with(client, f"Bearer {granted['access_token']}") for _ in range(2)]

    assert statuses == [401, 401]
    assert await status_with(client, f"Bearer {(await obtain(client))['access_token']}") == 200


async def test_the_token_operation_can_refuse_for_a_while(client: httpx.AsyncClient, state: State) -> None:
    state.faults.put("cloudlocate_token_rejected")

    refused = await client.post(TOKEN, data=CLIENT_CREDENTIALS)

    assert refused.status_code == 401
    assert (await obtain(client))["access_token"]


async def test_a_renewal_can_be_refused(client: httpx.AsyncClient, state: State) -> None:
    granted = await obtain(client)
    state.faults.put("cloudlocate_refresh_rejected")

    refused = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]})

    assert refused.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("name", "member", "value"),
    [
        ("cloudlocate_token_no_expiry", "expires_in", None),
        ("cloudlocate_token_text_expiry", "expires_in", "300"),
        ("cloudlocate_token_no_refresh", "refresh_token", None),
        ("cloudlocate_token_lower_case", "token_type", "bearer"),
    ],
)
async def test_a_token_answer_can_take_other_forms(
    client: httpx.AsyncClient, state: State, name: str, member: str, value: str | None
) -> None:
    state.faults.put(name)

    assert (await obtain(client)).get(member) == value


async def test_tokens_are_the_same_for_the_same_seed() -> None:
    tokens = []
    for seed in (1, 1, 2):
        transport = httpx.ASGITransport(create_simulator(Options(seed=seed)))
        async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
            tokens.append((await obtain(client))["access_token"])

    assert tokens[0] == tokens[1] != tokens[2]
