"""Clients that send slowly or without end do not keep their connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.server.protocol import GatewayProtocol
from tests.support.raw_http import place_of
from tests.support.servers import answer_lifespan, serving
from tests.support.waiting import until


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body, then answer."""
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    while (message := await receive()).get("more_body"):
        pass
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@pytest.fixture
async def place() -> AsyncIterator[tuple[str, int]]:
    async with serving(echo, http=partial(GatewayProtocol, read_timeout_s=0.3)) as url:
        yield place_of(url)


async def answers_to(place: tuple[str, int], *pieces: bytes) -> bytes:
    """Send the pieces one after the other and then nothing more; give all that came until the connection ended."""
    reader, writer = await asyncio.open_connection(*place)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"POST / HTTP/1.1\r\n", b"Host: x\r\n"], id="in its head"),
        pytest.param([b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"ab"], id="in its body"),
    ],
)
async def test_a_request_that_stops_arriving_gets_408(place: tuple[str, int], pieces: list[bytes]) -> None:
    answer = await answers_to(place, *pieces)

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed(place: tuple[str, int]) -> None:
    assert await answers_to(place) == b""


async def test_a_second_request_has_to_arrive_as_well(place: tuple[str, int]) -> None:
    answer = await answers_to(place, b"GET / HTTP/1.1\r\n\r\n", b"GET / HT")

    assert (answer.count(b" 200 "), answer.count(b" 408 ")) == (1, 1)


async def test_requests_in_several_pieces_are_answered(place: tuple[str, int]) -> None:
    pieces = [b"POST / HTTP/1.1\r\nContent-", b"Length: 4\r\nConnection: close\r\n\r\n", b"ab", b"cd"]

    answer = await answers_to(place, *pieces)

    assert answer.startswith(b"HTTP/1.1 200 ")


class Connections(list[GatewayProtocol]):
    """Makes connections of a server, and keeps them."""

    def __call__(self, *args: Any, **kwargs: Any) -> GatewayProtocol:
        self.append(GatewayProtocol(*args, **kwargs))
        return self[-1]


@pytest.mark.parametrize(("idle_s", "answers"), [(3.0, 3), (6.0, 2)])
async def test_a_connection_is_closed_when_it_has_been_idle_for_long(idle_s: float, answers: int) -> None:
    made = Connections()
    async with serving(echo, http=made, timeout_keep_alive=5) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        heard = b""
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            heard += await reader.readuntil(b"\r\n\r\n")

        made[0].idle_since = asyncio.get_running_loop().time() - idle_s
        made[0].timeout_keep_alive_handler()

        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        with suppress(ConnectionError):
            heard += await reader.read()
        writer.close()

    assert heard.count(b" 200 OK") == answers


async def test_a_connection_that_is_in_use_is_not_closed_for_being_idle() -> None:
    made = Connections()
    async with serving(echo, http=made, timeout_keep_alive=5) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\n")
        await until(lambda: made and made[0].cycle is not None)

        made[0].timeout_keep_alive_handler()

        writer.write(b"x")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
