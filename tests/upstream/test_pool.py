"""Which connection carries a request, and how many there are."""

import asyncio
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from peer import OK, Serving, Visit, all_ended

from app.upstream.pool import KeepAliveTransport


def post(url: str, content: bytes = b"payload", **limits: float) -> httpx.Request:
    return httpx.Request("POST", url, content=content, extensions={"timeout": limits})


async def answering(visit: Visit) -> None:
    while True:
        await visit.answer()


async def test_a_connection_is_used_again(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(answering)

    for _ in range(3):
        await transport.handle_async_request(post(peer.url))

    assert peer.visits == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="asked to close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
        pytest.param(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", id="one answer too many"),
        pytest.param(OK + b"stray bytes", id="stray bytes"),
    ],
)
async def test_a_connection_is_not_used_again_after(
    transport: KeepAliveTransport, serving: Serving, answer: bytes
) -> None:
    async def script(visit: Visit) -> None:
        await visit.answer(answer)
        await visit.ended()

    peer = await serving(script)

    bodies = [(await transport.handle_async_request(post(peer.url))).content for _ in range(2)]

    assert bodies == [b"ok", b"ok"]
    assert peer.visits == 2


async def test_an_answer_nobody_asked_for_ends_an_idle_connection(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    unasked = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.answer()
        await unasked.wait()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await visit.ended()

    peer = await serving(script)
    await transport.handle_async_request(post(peer.url))
    unasked.set()
    await all_ended(transport)

    response = await transport.handle_async_request(post(peer.url))

    assert response.content == b"ok"
    assert peer.visits == 2


async def test_a_connection_the_provider_has_closed_is_replaced(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    async def once(visit: Visit) -> None:
        await visit.answer()

    peer = await serving(once)
    await transport.handle_async_request(post(peer.url))
    await all_ended(transport)

    await transport.handle_async_request(post(peer.url))

    assert len(peer.requests) == 2


@pytest.mark.parametrize("ending", ["end", "reset"])
async def test_a_request_lost_on_a_used_connection_is_not_sent_again(
    transport: KeepAliveTransport, serving: Serving, ending: str
) -> None:
    async def script(visit: Visit) -> None:
        await visit.answer()
        await visit.request()
        if ending == "reset":
            visit.reset()

    peer = await serving(script)
    await transport.handle_async_request(post(peer.url, b"first"))

    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await transport.handle_async_request(post(peer.url, b"billed"))

    assert [request.rsplit(b"\r\n", 1)[1] for request in peer.requests] == [b"first", b"billed"]


async def test_a_connection_that_was_idle_for_too_long_is_replaced(serving: Serving) -> None:
    peer = await serving(answering)
    transport = KeepAliveTransport(max_connections=2, keepalive_s=-1)

    for _ in range(2):
        await transport.handle_async_request(post(peer.url))

    assert peer.visits == 2
    await transport.aclose()


@pytest.mark.parametrize(("idle_s", "visits"), [(3.0, 1), (4.5, 2)])
async def test_a_connection_is_replaced_before_servers_that_close_theirs_after_5_s_do(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, idle_s: float, visits: int
) -> None:
    peer = await serving(answering)
    transport = KeepAliveTransport(max_connections=2)
    await transport.handle_async_request(post(peer.url))
    loop = asyncio.get_running_loop()
    later = loop.time() + idle_s
    monkeypatch.setattr(loop, "time", lambda: later)

    await transport.handle_async_request(post(peer.url))

    assert peer.visits == visits
    await transport.aclose()


async def test_a_cancelled_request_leaves_no_answer_for_the_next(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    asked = asyncio.Event()

    async def script(visit: Visit) -> None:
        if await visit.request() == b"cancelled":
            asked.set()
            await visit.ended()
        else:
            await visit.send(OK)

    peer = await serving(script)
    call = asyncio.create_task(transport.handle_async_request(post(peer.url, b"cancelled")))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    response = await transport.handle_async_request(post(peer.url, b"next"))

    assert response.content == b"ok"
    assert peer.visits == 2


async def test_no_more_connections_than_allowed_are_made(transport: KeepAliveTransport, serving: Serving) -> None:
    peer = await serving(answering)

    await asyncio.gather(*[transport.handle_async_request(post(peer.url)) for _ in range(50)])

    assert peer.visits == 2
    assert len(peer.requests) == 50


async def test_waiting_for_a_connection_ends_with_its_time_limit(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    async def hanging(visit: Visit) -> None:
        await visit.request()
        await visit.ended()

    peer = await serving(hanging)
    busy = [asyncio.create_task(transport.handle_async_request(post(peer.url))) for _ in range(2)]
    await peer.received(2)

    with pytest.raises(httpx.PoolTimeout):
        await transport.handle_async_request(post(peer.url, pool=0.05))

    for call in busy:
        call.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    assert len(peer.requests) == 2


async def test_a_place_is_free_again_after_every_kind_of_failure(
    transport: KeepAliveTransport, serving: Serving
) -> None:
    async def script(visit: Visit) -> None:
        match await visit.request():
            case b"reset":
                visit.reset()
            case b"hang":
                await visit.ended()
            case _:
                await visit.send(OK)

    peer = await serving(script)
    failing = [post(peer.url, b"reset"), post(peer.url, b"hang", read=0.05), post("http://127.0.0.1:1/")] * 3

    results = await asyncio.gather(*map(transport.handle_async_request, failing), return_exceptions=True)

    assert all(isinstance(result, httpx.TransportError) for result in results)
    assert (await transport.handle_async_request(post(peer.url, b"well", pool=5))).content == b"ok"


async def test_a_cancelled_waiter_does_not_take_a_place(serving: Serving) -> None:
    release = asyncio.Event()

    async def script(visit: Visit) -> None:
        while True:
            await visit.request()
            await release.wait()
            await visit.send(OK)

    peer = await serving(script)
    transport = KeepAliveTransport(max_connections=1)
    first, waiter, last = (asyncio.create_task(transport.handle_async_request(post(peer.url))) for _ in range(3))
    await peer.received(1)
    waiter.cancel()
    release.set()

    assert (await first).content == (await last).content == b"ok"
    await transport.aclose()


async def test_a_refused_connection_was_never_sent(transport: KeepAliveTransport, free_port: int) -> None:
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(post(f"http://127.0.0.1:{free_port}/"))


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid"])
async def test_an_unknown_host_was_never_sent(transport: KeepAliveTransport, host: str) -> None:
    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(post(f"http://{host}/"))


async def test_a_connection_not_made_in_time_was_never_sent(transport: KeepAliveTransport) -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.settimeout(0)
        filler.connect_ex(full.getsockname())

    try:
        with pytest.raises(httpx.ConnectTimeout):
            await transport.handle_async_request(post(f"http://127.0.0.1:{full.getsockname()[1]}/", connect=0.05))
    finally:
        for one in (full, *fillers):
            one.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/relative"])
async def test_an_address_that_cannot_be_called_was_never_sent(transport: KeepAliveTransport, url: str) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(post(url))


async def test_https_works_with_a_trusted_certificate(
    serving: Serving, server_tls: ssl.SSLContext, certificate: Path
) -> None:
    peer = await serving(answering, server_tls)
    transport = KeepAliveTransport(max_connections=1, tls=ssl.create_default_context(cafile=certificate))

    bodies = [(await transport.handle_async_request(post(peer.url))).content for _ in range(2)]

    assert bodies == [b"ok", b"ok"]
    assert peer.visits == 1
    await transport.aclose()
    await all_ended(transport)


async def test_a_certificate_that_is_not_trusted_was_never_sent(
    transport: KeepAliveTransport, serving: Serving, server_tls: ssl.SSLContext
) -> None:
    peer = await serving(answering, server_tls)

    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(post(peer.url))

    assert peer.requests == []


async def test_a_certificate_of_another_host_was_never_sent(
    serving: Serving, server_tls: ssl.SSLContext, certificate: Path
) -> None:
    peer = await serving(answering, server_tls)
    transport = KeepAliveTransport(max_connections=1, tls=ssl.create_default_context(cafile=certificate))

    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(post(peer.url.replace("127.0.0.1", "localhost")))

    assert peer.requests == []


async def test_a_server_without_tls_was_never_sent(transport: KeepAliveTransport, serving: Serving) -> None:
    async def speaking_first(visit: Visit) -> None:
        await visit.send(OK)
        await visit.ended()

    peer = await serving(speaking_first)

    with pytest.raises(httpx.ConnectError):
        await transport.handle_async_request(post(peer.url.replace("http:", "https:")))

    assert peer.requests == []


async def test_closing_ends_what_is_under_way(serving: Serving) -> None:
    async def hanging(visit: Visit) -> None:
        await visit.request()
        await visit.ended()

    peer = await serving(hanging)
    transport = KeepAliveTransport(max_connections=1)
    call = asyncio.create_task(transport.handle_async_request(post(peer.url)))
    await peer.received(1)

    await transport.aclose()

    with pytest.raises(httpx.TransportError):
        await call
