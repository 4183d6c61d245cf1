from typing import Any

import httpx
import pytest
from thingspace_stand_in import ACCOUNT, StandIn, in_turn, json_of, refusal, soon

from app.errors import ProviderRefused, UnexpectedReply
from app.model import AccountName, Registration
from app.provider import Provider

URL = "https://gateway.example/callbacks/thingspace/t"
REGISTERED = {"account": ACCOUNT, "name": "DeviceLocation"}


async def register(provider: Provider) -> Registration:
    assert provider.listeners
    return await provider.listeners.register(AccountName(ACCOUNT), "DeviceLocation", URL, deadline=soon())


async def remove(provider: Provider, service: str = "DeviceLocation") -> None:
    assert provider.listeners
    await provider.listeners.remove(AccountName(ACCOUNT), service, deadline=soon())


async def listed(provider: Provider) -> list[Registration]:
    assert provider.listeners
    return await provider.listeners.registered(AccountName(ACCOUNT), deadline=soon())


def replying(**headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return in_turn(httpx.Response(200, json=REGISTERED, headers=named))


def test_position_reports_come_on_the_first_service(provider: Provider) -> None:
    assert provider.listeners
    assert provider.listeners.services == ("DeviceLocation", "Location")


async def test_a_registration_names_service_and_address(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = replying(X_Shared_Secret="s3cret", Date="today")

    registration = await register(provider)

    [request] = stand_in.requests
    assert (request.method, request.url.path) == ("POST", f"/api/loc/v1/callbacks/{ACCOUNT}")
    assert json_of(request) == {"name": "DeviceLocation", "url": URL}
    assert (registration.account, registration.service, registration.url) == (ACCOUNT, "DeviceLocation", URL)
    assert registration.secret == "s3cret"
    assert {"x-shared-secret", "date"} <= set(registration.header_names)
    assert "s3cret" not in repr(registration)


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({"Shared_Secret": "a"}, "a"),
        ({"sharedSecret": "a"}, "a"),
        ({"X_VZ_Shared_Secret": "a"}, "a"),
        ({"X_Callback_Secret": "a"}, "a"),
        ({"Secret_Key": "a"}, "a"),
        ({"X_Signing_Key": "a"}, "a"),
        ({"X_Access_Token": "a"}, "a"),
        ({"X_Request_Token": "b", "X_Shared_Secret": " a "}, "a"),
        ({"VZ_M2M_Token": "b", "Set_Cookie": "secret=b", "ETag": "b"}, None),
        ({"Secret": ""}, None),
    ],
)
async def test_the_likeliest_header_carries_the_secret(
    provider: Provider, stand_in: StandIn, headers: dict[str, str], secret: str | None
) -> None:
    stand_in.answer = replying(**headers)

    assert (await register(provider)).secret == secret


async def test_a_setting_names_the_header_that_carries_the_secret(
    build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET_HEADER", "X-Odd")
    stand_in.answer = replying(X_Odd="right", X_Shared_Secret="wrong")

    assert (await register(build())).secret == "right"


async def test_both_forms_of_the_list_are_read(provider: Provider, stand_in: StandIn) -> None:
    elements = [
        {"accountName": "0844559123-00002", "serviceName": "Location", "url": URL, "username": "u", "password": "p"},
        {"name": "DeviceLocation", "url": URL},
        {"url": "nobody's"},
        "rubbish",
        None,
    ]
    stand_in.answer = in_turn(httpx.Response(200, json=elements))

    assert await listed(provider) == [
        Registration(account=AccountName("0844559123-00002"), service="Location", url=URL),
        Registration(account=AccountName(ACCOUNT), service="DeviceLocation", url=URL),
    ]
    assert stand_in.requests[0].method == "GET"


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        pytest.param(httpx.Response(200, json=[]), 0, id="empty list"),
        pytest.param(httpx.Response(204), 0, id="no body"),
        pytest.param(httpx.Response(200, content=b"null"), 0, id="null"),
        pytest.param(httpx.Response(200, json={"name": "Location", "url": URL}), 1, id="lone object"),
    ],
)
async def test_other_lists_are_understood(
    provider: Provider, stand_in: StandIn, answer: httpx.Response, count: int
) -> None:
    stand_in.answer = in_turn(answer)

    assert len(await listed(provider)) == count


async def test_a_list_that_cannot_be_read_is_said_to_be_so(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=b"<html>"))

    with pytest.raises(UnexpectedReply):
        await listed(provider)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(httpx.Response(200, json={"success": True}), id="success"),
        pytest.param(
            httpx.Response(200, json={"accountName": ACCOUNT, "serviceName": "Location"}), id="account and service"
        ),
        pytest.param(httpx.Response(204), id="no body"),
        pytest.param(httpx.Response(404), id="404"),
        pytest.param(refusal("INVALID_PARAMETER", "Callback not found"), id="not found"),
        pytest.param(refusal("CALLBACK_NOT_REGISTERED", "", 403), id="not registered"),
        pytest.param(refusal("INVALID_PARAMETER", "The listener does not exist"), id="does not exist"),
    ],
)
async def test_a_removal_is_done_when_the_listener_is_gone(
    provider: Provider, stand_in: StandIn, answer: httpx.Response
) -> None:
    stand_in.answer = in_turn(answer)

    await remove(provider)

    [request] = stand_in.requests
    assert (request.method, request.url.path) == ("DELETE", f"/api/loc/v1/callbacks/{ACCOUNT}/name/DeviceLocation")


@pytest.mark.parametrize(
    "answer",
    [
        refusal("INVALID_PARAMETER", "Unregistered account"),
        httpx.Response(404, json={"fault": {"code": "900906", "message": "No matching resource in the API"}}),
    ],
    ids=["account", "wrong address"],
)
async def test_a_refused_removal_is_not_taken_for_done(
    provider: Provider, stand_in: StandIn, answer: httpx.Response
) -> None:
    stand_in.answer = in_turn(answer)

    with pytest.raises(ProviderRefused):
        await remove(provider)
