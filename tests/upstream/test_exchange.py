"""One request and its answer, over real sockets."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from peer import OK, Script, Serving, Visit

from app.upstream.connection import UnreadableAnswer
from app.upstream.pool import KeepAliveTransport

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(url: str, content: bytes = b"payload", **headers: str) -> httpx.Request:
    return httpx.Request("POST", url, content=content, headers=headers)


def timed(url: str, **limits: float) -> httpx.Request:
    return httpx.Request("POST", url, content=b"payload", extensions={"timeout": limits})


def replying(*parts: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(*parts)

    return script


async def test_the_request_arrives_as_it_was_made(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(replying(OK))

    await transport.handle_async_request(post(peer.url, b"payload", Authorization="Bearer abc"))

    head, body = peer.requests[0].split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /position?a=b HTTP/1.1"
    assert f"Host: 127.0.0.1:{peer.port}".encode() in lines
    assert b"Authorization: Bearer abc" in lines
    assert [line for line in lines if line.lower().startswith(b"content-length")] == [b"Content-Length: 7"]
    assert body == b"payload"


async def test_a_streamed_body_is_sent_with_its_length(transport: KeepAliveTransport, serving: Serving) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    peer = await serving(replying(OK))

    await transport.handle_async_request(httpx.Request("POST", peer.url, content=parts()))

    assert b"Content-Length: 6\r\n" in peer.requests[0]
    assert b"ransfer-" not in peer.requests[0]
    assert peer.requests[0].endswith(b"onetwo")


async def test_a_get_has_neither_body_nor_length(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(replying(OK))

    await transport.handle_async_request(httpx.Request("GET", peer.url))

    assert b"ontent-" not in peer.requests[0]


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        pytest.param([OK], b"ok", id="with its length"),
        pytest.param([bytes([byte]) for byte in OK], b"ok", id="byte by byte"),
        pytest.param([CHUNKED, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"], b"abcde", id="in chunks"),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\n", b"until", b" the end"], b"until the end", id="until the end"),
        pytest.param([b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"], b"old", id="HTTP/1.0"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], b"", id="empty"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], b"", id="without a body"),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", OK], b"ok", id="1xx"
        ),
    ],
)
async def test_an_answer_is_read_however_it_is_framed(
    transport: KeepAliveTransport, serving: Serving, parts: list[bytes], body: bytes
) -> None:
    peer = await serving(replying(*parts))

    response = await transport.handle_async_request(post(peer.url))

    assert response.content == body
    assert "link" not in response.headers


async def test_the_response_is_complete_for_httpx(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(replying(b'HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\n{"a": 1}'))

    response = await transport.handle_async_request(post(peer.url))

    assert response.status_code == httpx.codes.TOO_MANY_REQUESTS
    assert response.headers["retry-after"] == "7"
    assert response.json() == {"a": 1}
    assert await response.aread() == b'{"a": 1}'
    assert response.is_closed
    with pytest.raises(httpx.HTTPStatusError):
        response.raise_for_status()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", gzip.compress(b"unpacked", mtime=0)),
        (b"deflate", zlib.compress(b"unpacked")),
        (b"identity", b"unpacked"),
    ],
)
async def test_a_packed_body_is_unpacked(
    transport: KeepAliveTransport, serving: Serving, encoding: bytes, body: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    peer = await serving(replying(head + body))

    response = await transport.handle_async_request(post(peer.url))

    assert response.content == b"unpacked"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"gzip", gzip.compress(bytes(1_000_000), mtime=0), id="bomb"),
        pytest.param(b"gzip", gzip.compress(b"cut off", mtime=0)[:-3], id="cut off"),
        pytest.param(b"gzip", b"not gzip at all", id="not packed"),
        pytest.param(b"br", b"brotli", id="unknown"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_is_an_error(
    transport: KeepAliveTransport, serving: Serving, encoding: bytes, body: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    peer = await serving(replying(head + body))

    with pytest.raises(httpx.DecodingError):
        await transport.handle_async_request(post(peer.url))


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Le"], id="half a head"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort"], id="half a body"),
        pytest.param([CHUNKED, b"5\r\nabc"], id="half a chunk"),
        pytest.param([CHUNKED, b"3\r\nabc\r\n"], id="no last chunk"),
    ],
)
async def test_an_answer_that_is_cut_off_is_an_error_after_sending(
    transport: KeepAliveTransport, serving: Serving, parts: list[bytes]
) -> None:
    peer = await serving(replying(*parts))

    with pytest.raises(httpx.RemoteProtocolError):
        await transport.handle_async_request(post(peer.url))

    assert len(peer.requests) == 1


async def test_a_reset_after_the_request_is_an_error_after_sending(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.reset()

    peer = await serving(script)

    with pytest.raises(httpx.ReadError):
        await transport.handle_async_request(post(peer.url))

    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x00\x01 no HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", id="two lengths"),
        pytest.param(CHUNKED + b"zz\r\n", id="no chunk"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="upgrade"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000), id="long body"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(200_000), id="endless body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, id="endless header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 40_000, id="endless headers"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, id="endless announcements"),
    ],
)
async def test_an_answer_that_is_no_http_or_too_large_cannot_be_read(
    transport: KeepAliveTransport, serving: Serving, answer: bytes
) -> None:
    async def script(visit: Visit) -> None:
        await visit.answer(answer)
        await visit.ended()

    peer = await serving(script)

    with pytest.raises(UnreadableAnswer):
        await transport.handle_async_request(post(peer.url))


async def test_no_answer_in_time_is_a_read_timeout(transport: KeepAliveTransport, serving: Serving) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.ended()

    peer = await serving(script)

    with pytest.raises(httpx.ReadTimeout):
        await transport.handle_async_request(timed(peer.url, read=0.05))

    assert len(peer.requests) == 1


async def test_an_answer_in_time_is_not_disturbed_by_the_limits(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    peer = await serving(replying(OK))

    response = await transport.handle_async_request(timed(peer.url, read=10, connect=10, pool=10))

    assert response.content == b"ok"


@pytest.mark.parametrize("value", ["a\r\nX-Injected: b", "a\nb", "a\rb", "a\0b"])
async def test_a_header_with_a_line_break_is_not_sent(
    transport: KeepAliveTransport, serving: Serving, value: str
) -> None:
    peer = await serving(replying(OK))

    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(post(peer.url, Authorization=value))

    assert peer.visits == 0


@pytest.mark.parametrize("method", ["HEAD", "CONNECT"])
async def test_methods_whose_answers_are_framed_differently_are_not_sent(
    transport: KeepAliveTransport, serving: Serving, method: str
) -> None:
    peer = await serving(replying(OK))

    with pytest.raises(httpx.LocalProtocolError):
        await transport.handle_async_request(httpx.Request(method, peer.url))

    assert peer.visits == 0


async def test_a_large_request_arrives_whole(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(replying(OK))

    await transport.handle_async_request(post(peer.url, bytes(3_000_000)))

    assert len(peer.requests[0]) > 3_000_000


async def test_answers_never_cross(transport: KeepAliveTransport, serving: Serving) -> None:
    async def echo(visit: Visit) -> None:
        while True:
            body = await visit.request()
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    peer = await serving(echo)

    async def ask(number: int) -> bool:
        asked = b"%d" % number
        return (await transport.handle_async_request(post(peer.url, asked))).content == asked

    assert all(await asyncio.gather(*map(ask, range(200))))
    assert peer.visits <= 2
