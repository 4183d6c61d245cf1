"""The door of the vendors' routes: counts calls, keeps them waiting, and breaks connections on request."""

import asyncio
import socket
import struct
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Protocol

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.simulator.faults import Fault
from app.simulator.state import State

_BEFORE = (
    "slow", "hang", "reset_before", "status", "status_500_html", "status_502_xml", "status_503_empty", "rate_limited",
    "redirect",
)  # fmt: skip
_AFTER = ("slow_after", "reset_after", "truncated", "status_500_after", "status_504_html", "garbage", "html_200")

_HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
_XML = b'<?xml version="1.0"?><fault><code>101504</code><description>Bad gateway</description></fault>'

_Canned = tuple[int, list[tuple[bytes, bytes]], bytes]


class _Transport(Protocol):
    def get_extra_info(self, name: str) -> Any: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


class Gate:
    """An ASGI application round the vendors' routes."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call, with at most one fault that acts before it and one that acts after it."""
        if self._state.options.latency_s:
            await asyncio.sleep(self._state.options.latency_s)
        answer = _Answer(send)
        scope["simulator.reset"] = answer.reset
        try:
            await self._pass(scope, receive, answer)
        finally:
            self._state.counters.called(_route(scope), answer.status)

    async def _pass(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        faults, path = self._state.faults, scope["path"]
        before = faults.take(*_BEFORE, path=path)
        if before is not None:
            await self._apply_before(before, receive, answer)
            if before.name != "slow":
                return
        after = faults.take(*_AFTER, path=path)
        if after is None:
            await self._app(scope, receive, answer.forward)
            return
        await self._app(scope, receive, answer.keep)
        await _apply_after(after, receive, answer)

    async def _apply_before(self, fault: Fault, receive: Receive, answer: "_Answer") -> None:
        if fault.name == "slow":
            await asyncio.sleep(fault.delay_s or 1.0)
        elif fault.name == "hang":
            await _gone(receive)
        elif fault.name == "reset_before":
            await answer.reset(receive)
        else:
            await answer.send_canned(_canned(fault, self._state))


class _Answer:
    """What goes back to the caller: passed on as it comes, or kept to be spoilt."""

    def __init__(self, send: Send) -> None:
        self.status = 0
        self._send = send
        self._start: Message = {"type": "http.response.start", "status": 500, "headers": []}
        self._body = bytearray()

    async def forward(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def keep(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")

    async def send_canned(self, canned: _Canned) -> None:
        status, headers, body = canned
        headers = [*headers, (b"content-length", str(len(body)).encode())]
        await self.forward({"type": "http.response.start", "status": status, "headers": headers})
        await self.forward({"type": "http.response.body", "body": body})

    async def reset(self, receive: Receive) -> None:
        """Break the connection with a TCP reset."""
        transport = self._transport()
        if transport is None:
            raise httpx.ReadError("The simulator was told to reset the connection.")
        _reset_when_closed(transport)
        transport.abort()
        await _gone(receive)

    async def send_kept(self) -> None:
        """Send the kept answer as it is."""
        await self.forward(self._start)
        await self.forward({"type": "http.response.body", "body": bytes(self._body)})

    async def send_half(self, receive: Receive) -> None:
        """Promise the whole of the kept answer, send half of its body, and close the connection."""
        body = bytes(self._body) or b"{}"
        headers = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        self.status = 0
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        transport = self._transport()
        if transport is None:
            raise httpx.RemoteProtocolError("The simulator was told to close the connection in the body.")
        transport.close()
        await _gone(receive)

    def _transport(self) -> _Transport | None:
        # ASGI has no way to break a connection. Uvicorn's `send` is a method of the object that holds the transport;
        # where there is no such thing, calls are made in memory and the client's own exception stands for the event.
        return getattr(getattr(self._send, "__self__", None), "transport", None)


async def _apply_after(fault: Fault, receive: Receive, answer: _Answer) -> None:
    match fault.name:
        case "slow_after":
            await asyncio.sleep(fault.delay_s or 1.0)
            await answer.send_kept()
        case "reset_after":
            await answer.reset(receive)
        case "truncated":
            await answer.send_half(receive)
        case "status_500_after":
            await answer.send_canned((500, [], b""))
        case "status_504_html":
            await answer.send_canned((504, [(b"content-type", b"text/html")], _HTML))
        case "html_200":
            await answer.send_canned((200, [(b"content-type", b"text/html")], _HTML))
        case _:
            await answer.send_canned(
                (200, [(b"content-type", b"application/json")], b'{"Location": {"Lat": 40.7, \xff')
            )


def _canned(fault: Fault, state: State) -> _Canned:
    match fault.name:
        case "status":
            return int(fault.value or 500), [], b""
        case "status_500_html":
            return 500, [(b"content-type", b"text/html")], _HTML
        case "status_502_xml":
            return 502, [(b"content-type", b"application/xml")], _XML
        case "rate_limited":
            return (
                429,
                [(b"content-type", b"application/json"), *_retry_after(fault, state)],
                b'{"message": "Too many"}',
            )
        case "redirect":
            return 302, [(b"location", str(fault.value or "http://127.0.0.1:9/").encode())], b""
    return 503, [], b""


def _retry_after(fault: Fault, state: State) -> list[tuple[bytes, bytes]]:
    if fault.value is None:
        return []
    if fault.value == "date":
        # A caller's clock is the real one; the date has to be right for a simulator in real time only.
        return [(b"retry-after", format_datetime(state.clock.now() + timedelta(minutes=1), usegmt=True).encode())]
    return [(b"retry-after", str(fault.value).encode())]


def _reset_when_closed(transport: _Transport) -> None:
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Lingering for no time turns the close into a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _route(scope: Scope) -> str:
    path: str = scope["path"]
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}")
    return f"{scope['method']} {path}"
