"""Receivers of callbacks on loopback sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    body: bytes
    headers: dict[str, str]
    connection: Any

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def device(self) -> dict[str, Any]:
        (device,) = self.json["deviceList"]
        return device


@dataclass
class Receiver:
    """Keeps what it receives; `status` says what the n-th callback is answered with, 0 is no answer at all."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    status: Callable[[int], int] = lambda _: 200
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        peer = request.transport.get_extra_info("peername") if request.transport else None
        self.received.append(Received(await request.read(), headers, peer))
        status = self.status(len(self.received))
        if status == 0:
            await self.released.wait()
        return web.Response(status=status or 200)

    def reports(self, kind: str = "LOCATION_REPORT") -> list[Received]:
        return [one for one in self.received if one.json["reportType"] == kind]

    def times(self) -> list[str]:
        return [one.device["positionData"]["time"] for one in self.reports()]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Receiver"]:
        app = web.Application()
        app.router.add_post("/callbacks/{token}", self.take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/token"
        try:
            yield self
        finally:
            self.released.set()
            await runner.cleanup()
