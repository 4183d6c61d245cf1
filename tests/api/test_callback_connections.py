"""Callbacks over real connections: in whatever pieces they come, they are answered as the contract says."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text

from app.main import create_app
from app.server.fast_callbacks import CallbackProtocol
from tests.support.gateways import emptied, settings
from tests.support.servers import serving
from tests.support.vendors import CALLBACK_PATH, Vendors, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

Place = tuple[str, int]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving_place(gateway_app: FastAPI) -> AsyncIterator[Place]:
    async with serving(gateway_app, http=CallbackProtocol, proxy_headers=False) as url:
        yield place_of(url)


@pytest_asyncio.fixture(loop_scope="module")
async def place(serving_place: Place, gateway_app: FastAPI) -> Place:
    """Where the gateway listens, emptied."""
    await emptied(gateway_app)
    return serving_place


def place_of(url: str) -> Place:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def request(body: bytes | Any, *lines: str, path: str = CALLBACK_PATH, version: str = "1.1") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(content)}", *lines, "", ""]
    return "\r\n".join(head).encode() + content


async def answers(place: Place, *pieces: bytes, count: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the pieces one after the other, and read so many answers."""
    reader, writer = await asyncio.open_connection(*place)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    found = [await answer(reader) for _ in range(count)]
    writer.close()
    return found


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, *lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return int(status.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def count(app: FastAPI, table: str, where: str = "true") -> int:
    async with app.state.gateway.database.session() as session:
        found: int = await session.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"))  # noqa: S608 -- ours
    return found


async def test_a_callback_in_one_piece_is_stored_and_answered_empty(gateway_app: FastAPI, place: Place) -> None:
    [(status, headers, body)] = await answers(place, request(message()))

    assert (status, headers["content-length"], body) == (200, "0", b"")
    assert "date" in headers
    assert await count(gateway_app, "reports") == await count(gateway_app, "callbacks") == 1


async def test_a_callback_in_many_pieces_is_stored_as_well(gateway_app: FastAPI, place: Place) -> None:
    whole = request(message())
    pieces = [whole[at : at + 97] for at in range(0, len(whole), 97)]

    [(status, _, _)] = await answers(place, *pieces)

    assert status == 200
    assert await count(gateway_app, "reports") == 1


async def test_a_callback_in_chunks_is_stored_as_well(gateway_app: FastAPI, place: Place) -> None:
    body = json.dumps(message()).encode()
    head = f"POST {CALLBACK_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:50], body[50:]))

    found = [*await answers(place, head + chunks + b"0\r\n\r\n"), *await answers(place, head, chunks, b"0\r\n\r\n")]

    assert [status for status, _, _ in found] == [200, 200]
    assert await count(gateway_app, "callbacks") == 2


async def test_a_body_that_breaks_off_into_garbage_is_refused_and_not_stored(
    gateway_app: FastAPI, place: Place
) -> None:
    head = f"POST {CALLBACK_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection(*place)
    writer.write(head + b"2\r\n{}\r\nno length\r\n")

    status, _, _ = await answer(reader)
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()

    assert status == 400
    assert await count(gateway_app, "callbacks") == 0


@pytest.mark.parametrize("path", [f"{CALLBACK_PATH}?from=us", CALLBACK_PATH.replace("callbacks", "c%61llbacks")])
async def test_an_address_that_is_written_in_another_way_is_the_same(place: Place, path: str) -> None:
    [(status, _, _)] = await answers(place, request(message(), path=path))

    assert status == 200


async def test_callbacks_one_behind_the_other_are_answered_in_their_order(gateway_app: FastAPI, place: Place) -> None:
    unreadable = request(b"garbage")
    three = request(message()) + unreadable + request(message(transactionID="t-2"))

    found = await answers(place, three, count=3)

    assert [status for status, _, _ in found] == [200, 400, 200]
    assert await count(gateway_app, "reports") == 2
    assert await count(gateway_app, "callbacks", "state = 'quarantined'") == 1


async def test_another_account_than_the_tokens_is_stored_and_marked(gateway_app: FastAPI, place: Place) -> None:
    [(status, _, _)] = await answers(place, request(message(accountName="0000000000-00009")))

    assert status == 200
    for table in ("reports", "callbacks"):
        assert await count(gateway_app, table, "'account_mismatch' = ANY (flags)") == 1


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
        [(told, _, _)] = await answers(place_of(url), request(body, f"X-Signature: {signature}"))
        stored = await count(app, "callbacks")
        judged = await count(app, "callbacks", f"signature = '{verdict}'")

    assert told == status
    assert stored == judged == (1 if verdict else 0)


async def test_a_connection_is_used_again_and_for_other_requests_too(place: Place) -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

    found = await answers(place, request(message()), health, request(message()), count=3)

    assert [status for status, _, _ in found] == [200, 200, 200]


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
    [(told, headers, body)] = await answers(place, sent)

    assert told == status
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status


async def test_a_sender_that_asks_before_it_sends_is_told_to_go_on(gateway_app: FastAPI, place: Place) -> None:
    head, _, body = request(message(), "Expect: 100-continue").partition(b"\r\n\r\n")

    (first, *_), (second, *_) = await answers(place, head + b"\r\n\r\n", body, count=2)

    assert (first, second) == (100, 200)
    assert await count(gateway_app, "reports") == 1


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

    status, headers, _ = await answer(reader)

    assert (status, headers["connection"]) == (200, "close")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_what_a_sender_sent_before_it_left_is_stored(gateway_app: FastAPI, place: Place) -> None:
    _, writer = await asyncio.open_connection(*place)
    writer.write(request(message()))
    await writer.drain()
    writer.close()

    for _ in range(200):
        if await count(gateway_app, "reports"):
            break
        await asyncio.sleep(0.01)

    assert await count(gateway_app, "reports") == 1


async def test_without_a_database_callbacks_are_told_to_come_again(empty_database_url: str, vendors: Vendors) -> None:
    away = create_app(settings(empty_database_url), vendors.transport())

    async with serving(away, http=CallbackProtocol, proxy_headers=False) as url:
        found = await answers(place_of(url), request(message()), request(message()), count=2)

    assert [status for status, _, _ in found] == [503, 503]
    assert all("retry-after" in headers for _, headers, _ in found)
