"""Both vendors on one real socket, independent of the simulator: counts and bills what it takes, whatever it answers.

    vendor.will(late(0.5), answering(504), resetting)

says what becomes of the next calls that cost something; later ones are answered at once.
"""

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from tests.support.vendors import ACCOUNT

_POSITION = {"Location": {"Lat": 40.712961, "Lon": -74.006377, "Unc68": 27.0}, "LocationSource": "WiFi"}


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def asked(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        content = json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Reset(Exception):
    """The connection is to be reset instead of an answer."""


Conduct = Callable[[Reply], Awaitable[Reply]]
"""What the vendor does with its answer to a call that it has taken."""


def late(seconds: float) -> Conduct:
    """Answer after a while."""

    async def conduct(reply: Reply) -> Reply:
        await asyncio.sleep(seconds)
        return reply

    return conduct


def answering(status: int, **headers: str) -> Conduct:
    """Answer as a proxy does that has lost the service behind it."""

    async def conduct(_: Reply) -> Reply:
        return Reply("no", status, headers)

    return conduct


def refusing(status: int, code: str, message: str) -> Conduct:
    """Refuse in the vendor's own words."""

    async def conduct(_: Reply) -> Reply:
        return Reply({"errorCode": code, "errorMessage": message, "message": message}, status)

    return conduct


async def resetting(_: Reply) -> Reply:
    """Reset the connection."""
    raise Reset


async def at_once(reply: Reply) -> Reply:
    """Answer."""
    return reply


@dataclass(frozen=True)
class declining:  # noqa: N801 -- stands beside the others
    """Take nothing, and say so."""

    status: int
    retry_after: str | None = "0"


class BillingVendor:
    """ThingSpace and CloudLocate.

    Attributes:
        billed: How many fixes it has charged for: one a device asked about anew, one a CloudLocate position.
        calls: How many requests came that cost something, declined ones included.
        requests: All requests.
        usually: What it does when it was not told what to do.
        cached: Whether there is a position in ThingSpace's cache.
        unanswered: How many calls it has taken, and not answered yet.
    """

    def __init__(self) -> None:
        self.billed = 0
        self.calls = 0
        self.requests: list[Request] = []
        self.usually: Conduct = at_once
        self.logins = 0
        self.unanswered = 0
        self.cached = False
        self._next: deque[Conduct | declining] = deque()

    def will(self, *conducts: Conduct | declining) -> None:
        """Say what becomes of the next calls that cost something."""
        self._next.extend(conducts)

    def forget(self) -> None:
        """Forget what was asked and billed; sessions stay."""
        self.billed = self.calls = 0
        self.requests.clear()

    async def answer(self, request: Request) -> Reply:
        """Take a request, bill it, and then do what was said."""
        self.requests.append(request)
        if request.path.endswith("/oauth2/token"):
            return Reply({"access_token": "bearer", "token_type": "Bearer", "expires_in": 3600})
        if request.path.endswith("/session/login"):
            self.logins += 1
            return Reply({"sessionToken": f"session-{self.logins}"})
        fixes = _fixes(request)
        if not fixes:
            return _found(request) if self.cached or not request.path.endswith("/locations") else _NOT_CACHED
        self.calls += 1
        conduct = self._next.popleft() if self._next else self.usually
        if isinstance(conduct, declining):
            headers = {"Retry-After": conduct.retry_after} if conduct.retry_after is not None else {}
            return Reply("not now", conduct.status, headers)
        self.billed += fixes
        self.unanswered += 1
        try:
            return await conduct(_found(request))
        finally:
            self.unanswered -= 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                writer.write((await self.answer(await _read(reader))).to_bytes())
                await writer.drain()
        except Reset:
            never_linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, never_linger)
            writer.transport.abort()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


_NOT_CACHED = Reply({"errorCode": "CACHE_UNAVAILABLE", "errorMessage": "Location cache has no data"}, 400)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def _fixes(request: Request) -> int:
    if request.path.endswith("/cloudlocate"):
        return 1
    if request.path.endswith("/locations"):
        return 0 if request.asked["cacheMode"] == "0" else len(request.asked["deviceList"])
    asked = request.asked if request.method == "POST" else {}
    return len(asked.get("deviceList", ())) * int(asked.get("numberOfFixes") or 1)


def _found(request: Request) -> Reply:
    if request.path.endswith("/cloudlocate"):
        return Reply(_POSITION | {"DateTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"})
    if not request.path.endswith("/locations"):
        return Reply({"transactionID": "t-1", "status": "QUEUED"})
    time = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    pd = {"time": time, "x": "42.09551", "y": "-71.26483", "radius": "1450", "qos": "false"}
    return Reply([{"msid": device["mdn"], "pd": pd, "error": {}} for device in request.asked["deviceList"]])


@asynccontextmanager
async def billing_vendor() -> AsyncIterator[tuple[BillingVendor, dict[str, str]]]:
    """Serve on loopback; give the vendor, and the settings under which a gateway finds it."""
    vendor = BillingVendor()
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(vendor.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield (
            vendor,
            {
                "CLOUDLOCATE_URL": f"{base}/cloudlocate",
                "CLOUDLOCATE_USERNAME": "thing",
                "CLOUDLOCATE_PASSWORD": "thing-password",
                "THINGSPACE_BASE_URL": f"{base}/api",
                "THINGSPACE_KEY": "key",
                "THINGSPACE_SECRET": "client-secret",
                "THINGSPACE_USERNAME": "user",
                "THINGSPACE_PASSWORD": "user-password",
                "THINGSPACE_ACCOUNT": ACCOUNT,
            },
        )
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
