"""A server on a real socket that does to each connection what a test's script says."""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

from app.upstream.pool import KeepAliveTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Visit:
    """One connection, seen from the server."""

    def __init__(self, peer: "Peer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peer = peer
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """Read one request, and keep it."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await self._reader.readexactly(int(length[1])) if length else b""
        self._peer.keep(head + body)
        return body

    async def send(self, *parts: bytes) -> None:
        """Write, part after part."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def answer(self, reply: bytes = OK) -> None:
        """Read a request and reply to it."""
        await self.request()
        await self.send(reply)

    async def ended(self) -> None:
        """Wait until the client has ended the connection."""
        await self._reader.read()

    def reset(self) -> None:
        """End the connection with a reset instead of an orderly end."""
        linger_off = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_off)
        self._writer.transport.abort()


Script = Callable[[Visit], Awaitable[None]]


class Peer:
    """The server; a connection ends when its script does."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self.visits = 0
        self._arrival = asyncio.Event()
        self._script = script
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheme = "http"
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/position?a=b"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._scheme = "https" if tls else "http"
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def keep(self, request: bytes) -> None:
        self.requests.append(request)
        self._arrival.set()

    async def received(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.requests) < count:
                self._arrival.clear()
                await self._arrival.wait()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        task = asyncio.create_task(self._play(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(Visit(self, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


Serving = Callable[..., Awaitable[Peer]]
"""Starts a peer that plays a script."""


async def all_ended(transport: KeepAliveTransport) -> None:
    """Wait until the transport knows that its connections are gone."""
    async with asyncio.timeout(10):
        while transport._connections:  # noqa: ASYNC110 - the transport tells nobody
            await asyncio.sleep(0)
