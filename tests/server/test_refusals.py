"""What the server answers by itself: problem documents, in their turn, and the end of the connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.server.fast_callbacks import CallbackProtocol
from app.server.protocol import LARGEST_HEAD, GatewayProtocol
from tests.support.gateways import KEY
from tests.support.raw_http import Place, answer, answered_until_closed, answers, count_rows, place_of, request
from tests.support.servers import answer_lifespan, serving
from tests.support.vendors import CALLBACK_PATH, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORIZED = f"Authorization: Bearer {KEY}"
GARBAGE = b"no request at all\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = f"POST {CALLBACK_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n".encode()


class Recorder:
    """Answers each request with its headers, after its body and a moment; keeps what was received last."""

    def __init__(self, *, pause_s: float = 0.0, answers_first: bool = False) -> None:
        self.last = ""
        self._pause_s = pause_s
        self._answers_first = answers_first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        headers = json.dumps([(name.decode(), value.decode()) for name, value in scope["headers"]]).encode()
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(headers))]}
        if self._answers_first:
            await send(start)
        while (received := await receive()).get("more_body"):
            pass
        self.last = received["type"]
        await asyncio.sleep(self._pause_s)
        if not self._answers_first:
            await send(start)
        await send({"type": "http.response.body", "body": headers})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def impatient_place(gateway_app: FastAPI) -> AsyncIterator[Place]:
    """Where the gateway listens, with little time for requests to arrive."""
    async with serving(gateway_app, http=partial(CallbackProtocol, read_timeout_s=0.3), proxy_headers=False) as url:
        yield place_of(url)


def large_head(method: str = "GET", size: int = LARGEST_HEAD + 1) -> bytes:
    return f"{method} /healthz HTTP/1.1\r\nHost: x\r\nX-A: {'a' * size}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(GARBAGE, 400, "MALFORMED_REQUEST", id="garbage"),
        pytest.param(b"\x00", 400, "MALFORMED_REQUEST", id="not even a letter"),
        pytest.param(b"GET /a b HTTP/1.1\r\n\r\n", 400, "MALFORMED_REQUEST", id="a blank in the address"),
        pytest.param("GET /gerät HTTP/1.1\r\n\r\n".encode(), 400, "MALFORMED_REQUEST", id="an umlaut in the address"),
        pytest.param(CHUNKED + b"no length\r\n", 400, "MALFORMED_REQUEST", id="garbage in a body"),
        pytest.param(large_head(), 431, "HEADERS_TOO_LARGE", id="a large head in one piece"),
        pytest.param(large_head("POST")[:-4] * 2, 431, "HEADERS_TOO_LARGE", id="a large head that goes on"),
        pytest.param(request(b"{}", "X-A: " + "a" * LARGEST_HEAD), 431, "HEADERS_TOO_LARGE", id="of a callback"),
    ],
)
async def test_what_is_no_request_is_answered_with_a_problem(place: Place, sent: bytes, status: int, code: str) -> None:
    answered, rest = await answered_until_closed(place, sent)

    problem = answered.json()
    assert (answered.status, problem["status"], problem["code"], rest) == (status, status, code, b"")
    assert answered.headers["content-type"] == "application/problem+json"
    assert answered.headers["connection"] == "close"
    assert answered.headers["x-request-id"] == problem["instance"]
    assert "date" in answered.headers


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"POST /locate HTTP/1.1\r\n", b"Host: x\r\n"], id="in its head"),
        pytest.param([request(b"ab", AUTHORIZED, path="/locate")[:-1]], id="in its body"),
        pytest.param([request(message())[:-9]], id="in the body of a callback"),
        pytest.param([CHUNKED], id="in the chunks of a callback"),
    ],
)
async def test_a_request_that_stops_arriving_is_answered_with_a_problem(
    gateway_app: FastAPI, impatient_place: Place, place: Place, pieces: list[bytes]
) -> None:
    answered, rest = await answered_until_closed(impatient_place, *pieces)

    assert (answered.status, answered.json()["code"], rest) == (408, "REQUEST_TIMEOUT", b"")
    assert answered.json()["retryable"] is True
    assert await count_rows(gateway_app, "callbacks") == 0


async def test_an_answer_to_head_has_no_body(place: Place) -> None:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(large_head("HEAD"))
    everything = await asyncio.wait_for(reader.read(), 20)
    writer.close()

    head, _, body = everything.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert b"content-length: " in head
    assert body == b""


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(request(message()), id="callback on the fast path"),
        pytest.param(request(message(), path=f"{CALLBACK_PATH}?"), id="callback on the full path"),
        pytest.param(HEALTH, id="another request"),
    ],
)
@pytest.mark.parametrize("last", [GARBAGE, CHUNKED + b"no length\r\n", large_head()])
async def test_the_requests_before_are_answered_first(place: Place, first: bytes, last: bytes) -> None:
    reader, writer = await asyncio.open_connection(*place)
    writer.write(first + HEALTH + last)

    statuses = [(await answer(reader)).status for _ in range(3)]
    rest = await asyncio.wait_for(reader.read(), 20)
    writer.close()

    assert statuses[:2] == [200, 200]
    assert statuses[2] in (400, 431)
    assert rest == b""


@pytest.mark.parametrize("answers_first", [False, True])
async def test_an_application_that_waits_for_a_broken_body_is_told(answers_first: bool) -> None:  # noqa: FBT001
    recorder = Recorder(answers_first=answers_first)
    async with serving(recorder, http=GatewayProtocol) as url:
        reader, writer = await asyncio.open_connection(*place_of(url))
        writer.write(CHUNKED)
        await asyncio.sleep(0.05)
        writer.write(b"no length\r\n")
        everything = await asyncio.wait_for(reader.read(), 20)
        writer.close()

    assert recorder.last == "http.disconnect"
    assert everything.startswith(b"HTTP/1.1 200 " if answers_first else b"HTTP/1.1 400 ")
    assert everything.count(b"\r\ndate: ") == 1


async def test_a_client_that_goes_on_sending_sees_the_answer(place: Place) -> None:
    pieces = [large_head()] + [b"a" * 100_000] * 5

    answered, rest = await answered_until_closed(place, *pieces)

    assert (answered.status, rest) == (431, b"")


async def test_the_end_of_one_body_does_not_count_as_the_head_of_the_next_request() -> None:
    body = b"x" * (2 * LARGEST_HEAD)
    async with serving(Recorder(), http=GatewayProtocol) as url:
        found = await answers(place_of(url), request(body) + HEALTH[:10], HEALTH[10:], count=2)

    assert [one.status for one in found] == [200, 200]


async def test_trailers_are_no_headers() -> None:
    trailers = b"0\r\nAuthorization: Bearer stolen\r\nX-Request-Id: mine\r\n\r\n"
    async with serving(Recorder(), http=GatewayProtocol) as url:
        [answered] = await answers(place_of(url), CHUNKED + trailers)

    assert {name for name, _ in answered.json()} == {"host", "transfer-encoding"}


async def test_trailers_are_no_headers_of_callbacks(gateway_app: FastAPI, place: Place) -> None:
    body = json.dumps(message()).encode()
    head = CHUNKED.removesuffix(b"2\r\n{}\r\n")

    [answered] = await answers(place, head + b"%x\r\n%b\r\n0\r\nContent-Encoding: br\r\n\r\n" % (len(body), body))

    assert answered.status == 200
    assert await count_rows(gateway_app, "reports") == 1


async def test_more_connections_than_the_limit_are_told_to_come_again() -> None:
    async with serving(Recorder(), http=GatewayProtocol, limit_concurrency=2) as url:
        place = place_of(url)
        _, writer = await asyncio.open_connection(*place)
        [answered] = await answers(place, HEALTH)
        writer.close()

    assert (answered.status, answered.json()["code"]) == (503, "UNAVAILABLE")
    assert answered.headers["retry-after"] == "1"
    assert answered.json()["retryable"] is True
