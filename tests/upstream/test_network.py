"""The client that providers get, with and without a network or a proxy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from peer import OK, Serving, Visit

from app.upstream import http_client
from app.upstream.network import ProxiedTransport, network
from app.upstream.pool import KeepAliveTransport


def client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    return http_client(transport, connect_timeout_s=5, max_connections=4)


async def answering(visit: Visit) -> None:
    while True:
        await visit.answer()


def redirecting(count: list[httpx.Request]) -> Callable[[httpx.Request], httpx.Response]:
    def handle(request: httpx.Request) -> httpx.Response:
        count.append(request)
        return httpx.Response(307, headers={"Location": "/elsewhere", "Set-Cookie": "a=b"})

    return handle


async def test_the_client_reaches_a_provider(serving: Serving) -> None:
    peer = await serving(answering)

    async with client() as http:
        response = await http.post(peer.url, json={"a": 1})

    assert response.text == "ok"
    assert response.request.url == peer.url


async def test_a_request_built_beforehand_is_sent_as_it_is() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=request.content)

    async with client(httpx.MockTransport(handle)) as http:
        request = httpx.Request("POST", "http://vendor.test/", headers=[], stream=httpx.ByteStream(b"payload"))
        response = await http.send(request)

    assert response.content == b"payload"
    assert response.request is request
    assert not seen[0].headers


async def test_the_client_speaks_to_an_application_in_memory() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with client(httpx.ASGITransport(app)) as http:
        response = await http.post("http://vendor.test/", content=b"payload")

    assert (response.status_code, response.content) == (201, b"payload")


@pytest.mark.parametrize("options", [{}, {"auth": ("user", "password")}])
async def test_redirects_are_not_followed_and_cookies_not_kept(options: dict[str, Any]) -> None:
    seen: list[httpx.Request] = []

    async with client(httpx.MockTransport(redirecting(seen))) as http:
        answers = [await http.post("http://vendor.test/", **options) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [307, 307]
    assert not any("cookie" in request.headers for request in seen)
    assert len(seen) == 2


async def test_credentials_given_with_a_call_are_sent() -> None:
    seen: list[httpx.Request] = []

    async with client(httpx.MockTransport(redirecting(seen))) as http:
        await http.post("http://vendor.test/", auth=("user", "password"))

    assert seen[0].headers["authorization"].startswith("Basic ")


async def test_a_connection_must_be_made_within_the_time_limit() -> None:
    seen: list[httpx.Request] = []

    async with client(httpx.MockTransport(redirecting(seen))) as http:
        await http.send(httpx.Request("POST", "http://vendor.test/"))

    assert seen[0].extensions["timeout"]["connect"] == 5
    assert seen[0].extensions["timeout"]["read"] is None


async def test_a_time_limit_given_with_a_call_wins() -> None:
    seen: list[httpx.Request] = []

    async with client(httpx.MockTransport(redirecting(seen))) as http:
        await http.post("http://vendor.test/", timeout=3)

    assert seen[0].extensions["timeout"]["read"] == 3


async def test_an_answer_can_be_streamed() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=parts()))

    async with client(transport) as http, http.stream("GET", "http://vendor.test/") as response:
        received = [part async for part in response.aiter_bytes()]

    assert b"".join(received) == b"ab"


async def test_a_closed_client_sends_nothing() -> None:
    seen: list[httpx.Request] = []
    http = client(httpx.MockTransport(redirecting(seen)))
    await http.aclose()

    with pytest.raises(RuntimeError):
        await http.post("http://vendor.test/")

    assert seen == []


async def test_without_proxy_variables_providers_are_called_directly() -> None:
    assert isinstance(network(4), KeepAliveTransport)


async def test_a_call_goes_through_the_proxy_that_is_named(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await serving(answering)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")

    async with client() as http:
        response = await http.post("http://vendor.test/position", content=b"payload")

    assert response.text == "ok"
    assert proxy.requests[0].startswith(b"POST http://vendor.test/position HTTP/1.1\r\n")


async def test_a_tunnel_the_proxy_refuses_was_never_sent(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(visit: Visit) -> None:
        await visit.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    proxy = await serving(refusing)
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")

    async with client() as http:
        with pytest.raises(httpx.ProxyError):
            await http.post("https://vendor.test/position", content=b"payload")

    assert proxy.requests[0].startswith(b"CONNECT vendor.test:443")


async def test_hosts_excepted_from_the_proxy_and_loopback_are_called_directly(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await serving(answering)
    peer = await serving(answering)
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "excepted.invalid")

    async with client() as http:
        await http.post(peer.url)
        with pytest.raises(httpx.ConnectError):
            await http.post("http://excepted.invalid/")

    assert (len(peer.requests), len(proxy.requests)) == (1, 0)


async def test_an_answer_through_the_proxy_is_bounded(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(visit: Visit) -> None:
        await visit.answer(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await visit.send(bytes(1_000_000))

    proxy = await serving(endless)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")

    async with client() as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("http://vendor.test/")


async def test_a_proxy_that_cannot_be_used_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = ProxiedTransport({"http": "gopher://proxy.test"}, max_connections=1)

    with pytest.raises(httpx.UnsupportedProtocol):
        await transport.handle_async_request(httpx.Request("POST", "http://vendor.test/"))
    await transport.aclose()


async def test_the_caller_can_give_up_waiting(serving: Serving) -> None:
    async def hanging(visit: Visit) -> None:
        await visit.send(OK[:10])
        await visit.ended()

    peer = await serving(hanging)

    async with client() as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http.post(peer.url)
