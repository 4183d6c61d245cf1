"""Offers to change the protocol, none of which is taken: a request is served as if it had not made one."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.gateways import KEY
from tests.support.raw_http import Place, answered_until_closed, answers, chunked_request, count_rows, request
from tests.support.vendors import CALLBACK_PATH, DEVICE, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORIZED = f"Authorization: Bearer {KEY}"
H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)
WEBSOCKET = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: eA==",
)
TLS = ("Upgrade: TLS/1.2", "Connection: Upgrade")

offers = pytest.mark.parametrize(
    "offer",
    [
        pytest.param(H2C, id="h2c"),
        pytest.param(WEBSOCKET, id="websocket"),
        pytest.param(TLS, id="TLS"),
        pytest.param(("Upgrade: a", "Upgrade: b, c", "Connection: upgrade"), id="several"),
        pytest.param(("Connection: Upgrade",), id="an offer of nothing"),
        pytest.param(("Upgrade: h2c",), id="an offer for another hop"),
    ],
)
ways = pytest.mark.parametrize(
    "write", [pytest.param(request, id="with a length"), pytest.param(chunked_request, id="in chunks")]
)
Write = Callable[..., bytes]


@offers
@ways
async def test_a_location_is_answered(place: Place, offer: tuple[str, ...], write: Write) -> None:
    [answered] = await answers(place, write({"device": DEVICE}, AUTHORIZED, *offer, path="/locate"))

    assert answered.status == 200
    assert answered.json()["device"]["imei"] == DEVICE["imei"]


@offers
@ways
@pytest.mark.parametrize("path", [CALLBACK_PATH, f"{CALLBACK_PATH}?from=us"], ids=["fast path", "full path"])
async def test_a_callback_is_stored(
    gateway_app: FastAPI, place: Place, offer: tuple[str, ...], write: Write, path: str
) -> None:
    [answered] = await answers(place, write(message(), *offer, path=path))

    assert answered.status == 200
    assert await count_rows(gateway_app, "reports") == await count_rows(gateway_app, "callbacks") == 1


@ways
async def test_a_callback_in_many_pieces_is_stored(gateway_app: FastAPI, place: Place, write: Write) -> None:
    whole = write(message(), *H2C)

    [answered] = await answers(place, *[whole[at : at + 61] for at in range(0, len(whole), 61)])

    assert answered.status == 200
    assert await count_rows(gateway_app, "reports") == 1


async def test_requests_one_behind_the_other_are_answered_in_their_order(gateway_app: FastAPI, place: Place) -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    several = [
        request(message(1), *H2C),
        health,
        chunked_request(message(2), *TLS),
        request({"device": DEVICE}, AUTHORIZED, *WEBSOCKET, path="/locate"),
        request(message(3)),
        request(b"garbage", *H2C),
        request(message(4), *H2C, path=f"{CALLBACK_PATH}?"),
    ]

    found = await answers(place, b"".join(several), count=len(several))

    assert [one.status for one in found] == [200, 200, 200, 200, 200, 400, 200]
    assert await count_rows(gateway_app, "callbacks") == 5
    assert await count_rows(gateway_app, "reports", "session_id IS NULL AND transaction_id = 't-1'") == 4


async def test_a_connection_is_used_again(gateway_app: FastAPI, place: Place) -> None:
    found = await answers(place, request(message(1), *H2C), request(message(2), *H2C), request(message(3)), count=3)

    assert [one.status for one in found] == [200, 200, 200]
    assert await count_rows(gateway_app, "reports") == 3


async def test_a_sender_that_asks_before_it_sends_is_told_to_go_on(gateway_app: FastAPI, place: Place) -> None:
    head, end, body = request(message(), "Expect: 100-continue", *H2C).partition(b"\r\n\r\n")

    found = await answers(place, head + end, body, count=2)

    assert [one.status for one in found] == [100, 200]
    assert await count_rows(gateway_app, "reports") == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(message(), *H2C, version="1.0"), id="HTTP/1.0"),
        pytest.param(request(message(), "Connection: close, upgrade", "Upgrade: h2c"), id="Connection: close"),
    ],
)
async def test_a_connection_that_is_not_kept_is_closed(gateway_app: FastAPI, place: Place, sent: bytes) -> None:
    answered, rest = await answered_until_closed(place, sent)

    assert (answered.status, answered.headers["connection"], rest) == (200, "close", b"")
    assert await count_rows(gateway_app, "reports") == 1


@pytest.mark.parametrize("body", [{"a": "x" * 1_100_000}, b"x" * 1_100_000])
async def test_a_body_over_the_limit_is_refused(gateway_app: FastAPI, place: Place, body: Any) -> None:
    answered, _ = await answered_until_closed(place, request(body, *H2C, "Connection: close"))

    assert answered.status == 413
    assert await count_rows(gateway_app, "callbacks") == 0


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED", id="HTTP/2 at once"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED", id="HTTP/2 in words"),
        pytest.param(b"GET /\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED", id="HTTP/0.9"),
        pytest.param(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 400, "MALFORMED_REQUEST", id="a tunnel"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400, "MALFORMED_REQUEST", id="TLS"),
    ],
)
async def test_other_protocols_are_refused(place: Place, sent: bytes, status: int, code: str) -> None:
    answered, rest = await answered_until_closed(place, sent)

    assert (answered.status, answered.json()["code"], rest) == (status, code, b"")
