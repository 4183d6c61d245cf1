import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.simulator.vendors.thingspace.posting import Poster, PostFailed

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Speak to every connection as `answer` does; give the address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def answering(reply: bytes, requests: list[bytes], *, times: int = 100) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            requests.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
            writer.write(reply)

    return answer


async def test_a_post_says_what_is_asked_for() -> None:
    requests: list[bytes] = []
    async with server(answering(OK, requests)) as url, Poster(1) as poster:
        status = await poster.post(f"{url}/path?token=1", b"body", {"X-Signature": "ab"})

    host = url.removeprefix("http://")
    assert status == 200
    assert requests == [
        f"POST /path?token=1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nX-Signature: ab\r\n\r\nbody".encode()
    ]


async def test_a_kept_connection_is_used_again() -> None:
    connections = 0
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(OK, requests)(reader, writer)

    async with server(answer) as url, Poster(1) as poster:
        statuses = [await poster.post(url, b"body", {}) for _ in range(3)]

    assert (statuses, connections) == ([200] * 3, 1)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", id="said"),
        pytest.param(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", id="unsaid"),
    ],
)
async def test_a_connection_that_the_server_closes_is_replaced(reply: bytes) -> None:
    requests: list[bytes] = []
    async with server(answering(reply, requests, times=1)) as url, Poster(1) as poster:
        statuses = []
        for _ in range(3):
            statuses.append(await poster.post(url, b"body", {}))
            await asyncio.sleep(0.01)  # lets the end of the connection arrive

    assert statuses == [503] * 3


async def test_two_addresses_can_be_posted_to_in_turn() -> None:
    one: list[bytes] = []
    other: list[bytes] = []
    async with server(answering(OK, one)) as first, server(answering(OK, other)) as second, Poster(1) as poster:
        for url in (first, second, first):
            await poster.post(url, b"body", {})

    assert (len(one), len(other)) == (2, 1)


@pytest.mark.parametrize("reply", [pytest.param(b"", id="nothing"), pytest.param(b"SSH-2.0\r\n\r\n", id="no HTTP")])
async def test_a_connection_without_an_answer_is_a_failure(reply: bytes) -> None:
    async with server(answering(reply, [], times=1)) as url, Poster(1) as poster:
        with pytest.raises(PostFailed):
            await poster.post(url, b"body", {})


async def test_silence_is_a_failure_in_the_end() -> None:
    async with server(answering(b"", [])) as url, Poster(0.05) as poster:
        with pytest.raises(PostFailed):
            await poster.post(url, b"body", {})


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:99999/", "https://127.0.0.1:{port}/"])
async def test_an_impossible_address_is_a_failure(url: str, free_port: int) -> None:
    async with Poster(1) as poster:
        with pytest.raises(PostFailed):
            await poster.post(url.format(port=free_port), b"body", {})
