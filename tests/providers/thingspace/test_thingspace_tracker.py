import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from thingspace_stand_in import (
    ACCOUNT,
    IMEI,
    MDN,
    TRANSACTION,
    StandIn,
    gateway_fault,
    in_turn,
    json_of,
    refusal,
    sample,
    session_expired,
    soon,
)

from app.errors import (
    InvalidArgument,
    OutcomeUnknown,
    ProviderError,
    ProviderRefused,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    UnexpectedReply,
    UnsupportedIdentifier,
)
from app.model import AccountName, Deadline, Device, Mdn, PeriodicPlan, TransactionId
from app.provider import Provider

QUEUED = httpx.Response(200, json={"transactionID": TRANSACTION, "status": "QUEUED"})


def plan(**members: Any) -> PeriodicPlan:
    device = Device(id=IMEI, kind="imei", mdn=Mdn(MDN))
    defaults: dict[str, Any] = {
        "account": AccountName(ACCOUNT),
        "devices": (device,),
        "interval_s": 300,
        "count": 6,
    }
    return PeriodicPlan(**(defaults | members))


async def start(provider: Provider, asked: PeriodicPlan | None = None, deadline: Deadline | None = None) -> str:
    assert provider.tracker
    return await provider.tracker.start(asked or plan(), deadline=deadline or soon())


async def stop(provider: Provider, *mdns: str, transaction: str = TRANSACTION, account: str = ACCOUNT) -> str:
    assert provider.tracker
    return await provider.tracker.stop(
        AccountName(account), TransactionId(transaction), [Mdn(mdn) for mdn in mdns], deadline=soon()
    )


async def test_the_vendors_example_is_reproduced_with_integers(
    build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINGSPACE_PERIODIC_NUMBERS", "integers")
    stand_in.answer = in_turn(QUEUED)
    example = json.loads(sample("periodic-location.start.request"))
    devices = tuple(Device(**device) for device in example["deviceList"])

    await start(
        build(),
        plan(account=example["accountName"], devices=devices, interval_s=60, count=4, start_delay_s=25, max_age_s=120),
    )

    [request] = stand_in.requests
    assert json_of(request) == example
    assert request.method == "POST"
    assert str(request.url) == "https://thingspace.verizon.com/api/loc/v1/devicelocations/action/periodic"


async def test_numbers_are_texts_by_default(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(QUEUED)

    assert await start(provider) == TRANSACTION

    assert json_of(stand_in.requests[0]) == {
        "accountName": ACCOUNT,
        "deviceList": [{"id": IMEI, "kind": "imei", "mdn": MDN}],
        "maxLocAge": "120",
        "numberOfFixes": "6",
        "fixInterval": "300",
        "startTime": "0",
    }


async def test_an_endless_session_says_so_explicitly(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(QUEUED)

    await start(provider, plan(count=None))

    assert json_of(stand_in.requests[0])["numberOfFixes"] == "0"


async def test_an_unknown_mdn_is_left_out(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(QUEUED)

    await start(provider, plan(devices=(Device(id=IMEI, kind="imei"),)))

    assert json_of(stand_in.requests[0])["deviceList"] == [{"id": IMEI, "kind": "imei"}]


async def test_ten_thousand_devices_go_into_one_start(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(QUEUED)

    await start(provider, plan(devices=tuple(Device(id=f"99000112{n:07d}", kind="imei") for n in range(10_000))))

    assert len(json_of(stand_in.requests[0])["deviceList"]) == 10_000


async def test_only_imeis_can_be_tracked(provider: Provider, stand_in: StandIn) -> None:
    with pytest.raises(UnsupportedIdentifier) as caught:
        await start(provider, plan(devices=(Device(id="A1000049D2C3E4", kind="meid"),)))

    assert caught.value.errors[0].pointer == "/devices/0/imei"
    assert stand_in.token_requests == 0


@pytest.mark.parametrize("name", ["transactionID", "txid", "transactionId", "TRANSACTIONID", "TxId"])
async def test_the_transaction_id_is_found_under_any_name(provider: Provider, stand_in: StandIn, name: str) -> None:
    written = f"2017-12-11T{TRANSACTION} "
    stand_in.answer = in_turn(httpx.Response(200, json={name: written, "status": "QUEUED"}))

    assert await start(provider) == written.strip()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.ReadTimeout("slow"), id="timeout"),
        pytest.param(httpx.ReadError("reset"), id="reset"),
        pytest.param(httpx.Response(500), id="500"),
        pytest.param(httpx.Response(502), id="502"),
        pytest.param(httpx.Response(503), id="503"),
        pytest.param(httpx.Response(504), id="504"),
        pytest.param(httpx.Response(200, content=b"<html>"), id="HTML"),
        pytest.param(httpx.Response(200, content=b'{"transactionID": "3d1'), id="truncated"),
        pytest.param(httpx.Response(200), id="empty"),
        pytest.param(httpx.Response(200, json={"status": "QUEUED"}), id="no id"),
        pytest.param(httpx.Response(200, json=[]), id="no object"),
    ],
)
async def test_a_start_that_may_have_been_taken_is_never_sent_again(
    provider: Provider, stand_in: StandIn, trouble: Any
) -> None:
    stand_in.answer = in_turn(trouble, QUEUED)

    with pytest.raises(OutcomeUnknown) as caught:
        await start(provider)

    assert len(stand_in.requests) == 1
    assert caught.value.may_have_been_received
    assert caught.value.provider == "thingspace"


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.ConnectError("refused"), id="refused"),
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.Response(503, headers={"Retry-After": "0"}), id="503 that names a time"),
        pytest.param(session_expired(), id="session expired"),
        pytest.param(gateway_fault(), id="bearer expired"),
    ],
)
async def test_a_start_that_cannot_have_been_taken_is_sent_again(
    provider: Provider, stand_in: StandIn, trouble: Any
) -> None:
    stand_in.answer = in_turn(trouble, QUEUED)

    assert await start(provider) == TRANSACTION
    assert len(stand_in.requests) == 2


async def test_a_start_that_never_connects_is_unavailable(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.ConnectError("refused"))

    with pytest.raises(ProviderUnavailable) as caught:
        await start(provider)

    assert not caught.value.may_have_been_received


async def test_a_start_without_a_login_was_never_sent(provider: Provider, stand_in: StandIn) -> None:
    stand_in.on_login = in_turn(httpx.ReadTimeout("slow"))

    with pytest.raises(ProviderTimeout) as caught:
        await start(provider)

    assert not caught.value.may_have_been_received


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(refusal("INVALID_PARAMETER", "Unregistered account"), ProviderRefused, id="refused"),
        pytest.param(refusal("INVALID_PARAMETER", "Unregistered account", 200), ProviderRefused, id="with status 200"),
        pytest.param(refusal("X", "Something new", 200), ProviderRefused, id="unknown words with status 200"),
        pytest.param(httpx.Response(429, headers={"Retry-After": "99"}), ProviderThrottled, id="throttled for long"),
    ],
)
async def test_a_refused_start_is_known_to_have_failed(
    provider: Provider, stand_in: StandIn, answer: httpx.Response, kind: type[ProviderError]
) -> None:
    stand_in.answer = in_turn(answer)

    with pytest.raises(kind):
        await start(provider)


async def test_a_stop_names_account_and_mdns(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, json={"transactionID": "595ffce4 ", "status": "COMPLETED"}))

    stopped = await stop(provider, MDN, "5085550103", transaction="a/b c", account="0844 559&1")

    [request] = stand_in.requests
    assert stopped == "595ffce4"
    assert (request.method, request.content) == ("DELETE", b"")
    assert request.url.raw_path.partition(b"?")[0] == b"/api/loc/v1/devicelocations/action/periodic/a%2Fb%20c"
    assert parse_qs(request.url.query.decode()) == {"accountName": ["0844 559&1"], "mdn": [MDN, "5085550103"]}


async def test_the_mdns_of_a_stop_can_be_joined_by_commas(
    build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THINGSPACE_STOP_MDN_ENCODING", "comma")

    await stop(build(), MDN, "5085550103")

    assert stand_in.requests[0].url.query.decode() == f"accountName={ACCOUNT}&mdn={MDN},5085550103"


@pytest.mark.parametrize("count", [0, 101])
async def test_a_stop_takes_one_to_a_hundred_devices(provider: Provider, stand_in: StandIn, count: int) -> None:
    assert provider.tracker
    assert provider.tracker.stop_limit == 100

    with pytest.raises(InvalidArgument):
        await stop(provider, *[MDN] * count)

    assert stand_in.token_requests == 0


@pytest.mark.parametrize(
    "trouble",
    [httpx.ReadError("reset"), httpx.Response(500), httpx.Response(502), session_expired()],
    ids=["reset", "500", "502", "session expired"],
)
async def test_a_stop_is_repeated_after_a_failure(provider: Provider, stand_in: StandIn, trouble: Any) -> None:
    stand_in.answer = in_turn(trouble, httpx.Response(200, json={"transactionID": "s"}))

    assert await stop(provider, MDN) == "s"


async def test_a_repeated_stop_that_comes_too_late_has_succeeded(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.ReadError("reset"), refusal("INVALID_PARAMETER", "Unable to Cancel"))

    assert await stop(provider, MDN) == TRANSACTION


async def test_a_first_stop_that_comes_too_late_has_failed(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(session_expired(), refusal("INVALID_PARAMETER", "Unable to Cancel"))

    with pytest.raises(ProviderRefused):
        await stop(provider, MDN)


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, json={"status": "COMPLETED"})])
async def test_a_stop_without_an_id_of_its_own_goes_by_the_session(
    provider: Provider, stand_in: StandIn, answer: httpx.Response
) -> None:
    stand_in.answer = in_turn(answer)

    assert await stop(provider, MDN) == TRANSACTION


async def test_a_stop_answered_by_somebody_else_is_not_taken_for_done(provider: Provider, stand_in: StandIn) -> None:
    stand_in.answer = in_turn(httpx.Response(200, content=b"<html>"))

    with pytest.raises(UnexpectedReply):
        await stop(provider, MDN)
