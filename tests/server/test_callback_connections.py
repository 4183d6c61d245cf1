"""Callbacks over real connections: in whatever pieces they come, they are answered as the contract says."""

import asyncio
import hmac
import json
from hashlib import sha256

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.server.fast_callbacks import CallbackProtocol
from tests.support.gateways import settings
from tests.support.raw_http import Place, answer, answers, chunked_request, count_rows, place_of, request
from tests.support.servers import serving
from tests.support.vendors import CALLBACK_PATH, Vendors, message

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_callback_in_one_piece_is_stored_and_answered_empty(gateway_app: FastAPI, place: Place) -> None:
    [answered] = await answers(place, request(message()))

    assert (answered.status, answered.headers["content-length"], answered.body) == (200, "0", b"")
    assert "date" in answered.headers
    assert await count_rows(gateway_app, "reports") == await count_rows(gateway_app, "callbacks") == 1


async def test_a_callback_in_many_pieces_is_stored_as_well(gateway_app: FastAPI, place: Place) -> None:
    whole = request(message())
    pieces = [whole[at : at + 97] for at in range(0, len(whole), 97)]

    [answered] = await answers(place, *pieces)

    assert answered.status == 200
    assert await count_rows(gateway_app, "reports") == 1


async def test_a_callback_in_chunks_is_stored_as_well(gateway_app: FastAPI, place: Place) -> None:
    whole = chunked_request(message())
    head, end, chunks = whole.partition(b"\r\n\r\n")

    found = [*await answers(place, whole), *await answers(place, head + end, chunks[:-5], chunks[-5:])]

    assert [one.status for one in found] == [200, 200]
    assert await count_rows(gateway_app, "callbacks") == 2


async def test_a_body_that_breaks_off_into_garbage_is_refused_and_not_stored(
    gateway_app: FastAPI, place: Place
) -> None:
    head = f"POST {CALLBACK_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(*place)
    writer.write(head + b"2\r\n{}\r\nno length\r\n")

    answered = await answer(reader)
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()

    assert answered.status == 400
    assert await count_rows(gateway_app, "callbacks") == 0


@pytest.mark.parametrize("path", [f"{CALLBACK_PATH}?from=us", CALLBACK_PATH.replace("callbacks", "c%61llbacks")])
async def test_an_address_that_is_written_in_another_way_is_the_same(place: Place, path: str) -> None:
    [answered] = await answers(place, request(message(), path=path))

    assert answered.status == 200


async def test_callbacks_one_behind_the_other_are_answered_in_their_order(gateway_app: FastAPI, place: Place) -> None:
    unreadable = request(b"garbage")
    three = request(message()) + unreadable + request(message(transactionID="t-2"))

    found = await answers(place, three, count=3)

    assert [one.status for one in found] == [200, 400, 200]
    assert await count_rows(gateway_app, "reports") == 2
    assert await count_rows(gateway_app, "callbacks", "state = 'quarantined'") == 1


async def test_another_account_than_the_tokens_is_stored_and_marked(gateway_app: FastAPI, place: Place) -> None:
    [answered] = await answers(place, request(message(accountName="0000000000-00009")))

    assert answered.status == 200
    for table in ("reports", "callbacks"):
        assert await count_rows(gateway_app, table, "'account_mismatch' = ANY (flags)") == 1


@pytest.mark.parametrize(
    ("mode", "secret", "status", "verdict"),
    [
        ("enforce", "shared", 200, "valid"),
        ("enforce", "another", 401, None),
        ("log", "another", 200, "invalid"),
        ("off", "another", 200, "unchecked"),
    ],
)
async def test_signatures_are_judged(
    database_url: str,
    vendors: Vendors,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    secret: str,
    status: int,
    verdict: str | None,
) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE", mode)
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_HEADER", "X-Signature")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET", "shared")
    body = json.dumps(message()).encode()
    signature = hmac.digest(secret.encode(), body, sha256).hex()
    app = create_app(settings(database_url), vendors.transport())

    async with serving(app, http=CallbackProtocol, proxy_headers=False) as url:
        [answered] = await answers(place_of(url), request(body, f"X-Signature: {signature}"))
        stored = await count_rows(app, "callbacks")
        judged = await count_rows(app, "callbacks", f"signature = '{verdict}'")

    assert answered.status == status
    assert stored == judged == (1 if verdict else 0)


async def test_a_connection_is_used_again_and_for_other_requests_too(place: Place) -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    found = await answers(place, request(message()), health, request(message()), count=3)

    assert [one.status for one in found] == [200, 200, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(request(message(), path="/callbacks/thingspace/not-a-token"), 404, id="an unknown token"),
        pytest.param(request(b"\xff\x00"), 400, id="garbage"),
        pytest.param(request(b'{"a": "' + b"x" * 1_100_000 + b'"}'), 413, id="too large"),
        pytest.param(request(b""), 400, id="empty"),
    ],
)
async def test_what_is_unusual_is_told_as_by_any_server(place: Place, sent: bytes, status: int) -> None:
    [answered] = await answers(place, sent)

    assert answered.status == status
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.json()["status"] == status


async def test_a_sender_that_asks_before_it_sends_is_told_to_go_on(gateway_app: FastAPI, place: Place) -> None:
    head, _, body = request(message(), "Expect: 100-continue").partition(b"\r\n\r\n")

    found = await answers(place, head + b"\r\n\r\n", body, count=2)

    assert [one.status for one in found] == [100, 200]
    assert await count_rows(gateway_app, "reports") == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(message(), "Connection: close"), id="Connection: close"),
        pytest.param(request(message(), version="1.0"), id="HTTP/1.0"),
    ],
)
async def test_a_connection_that_is_not_kept_is_closed_after_the_answer(place: Place, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(sent)

    answered = await answer(reader)

    assert (answered.status, answered.headers["connection"]) == (200, "close")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_what_a_sender_sent_before_it_left_is_stored(gateway_app: FastAPI, place: Place) -> None:
    _, writer = await asyncio.open_connection(*place)
    writer.write(request(message()))
    await writer.drain()
    writer.close()

    for _ in range(200):
        if await count_rows(gateway_app, "reports"):
            break
        await asyncio.sleep(0.01)

    assert await count_rows(gateway_app, "reports") == 1


async def test_without_a_database_callbacks_are_told_to_come_again(empty_database_url: str, vendors: Vendors) -> None:
    away = create_app(settings(empty_database_url), vendors.transport())

    async with serving(away, http=CallbackProtocol, proxy_headers=False) as url:
        found = await answers(place_of(url), request(message()), request(message()), count=2)

    assert [one.status for one in found] == [503, 503]
    assert all("retry-after" in one.headers for one in found)
