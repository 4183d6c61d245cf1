"""A receiver of deliveries that was written from the text of Standard Webhooks alone, with its own signature check."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Headers = dict[str, str]
Answer = tuple[int, Headers]

OK: Answer = (200, {})
_TOLERANCE_S = 300


class SignatureWrong(Exception):
    """A delivery is not signed as the standard has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One delivery as it came."""

    at: float
    headers: Headers
    body: bytes
    status: int

    @property
    def events(self) -> list[Json]:
        """The CloudEvents in it."""
        content = json.loads(self.body)
        return content if isinstance(content, list) else [content]


@dataclass(slots=True, kw_only=True)
class EventReceiver:
    """Answers deliveries.

    Attributes:
        secrets: Those that may have signed; nothing is checked while there are none.
        answer: Says what to answer to the events of a delivery.
        received: All that came, refused or not.
        wrong: What was wrong with signatures.
    """

    secrets: list[str] = field(default_factory=list)
    answer: Callable[[list[Json]], Answer] = lambda _: OK
    received: list[Received] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/events"

    @property
    def taken(self) -> list[Received]:
        """What it has answered with 200."""
        return [one for one in self.received if one.status == OK[0]]

    @property
    def event_ids(self) -> list[str]:
        """The ids of the events that it has taken, in their order, each once."""
        return list(dict.fromkeys(event["id"] for one in self.taken for event in one.events))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["EventReceiver"]:
        """Listen while the block lasts; again, at the same port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        connections = server.sockets
        try:
            yield self
        finally:
            server.close()
            del connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                status, more = self._take(headers, body)
                extra = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                text = f"answer {status}"
                writer.write(f"HTTP/1.1 {status} X\r\n{extra}Content-Length: {len(text)}\r\n\r\n{text}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _take(self, headers: Headers, body: bytes) -> Answer:
        try:
            self._check(headers, body)
        except SignatureWrong as error:
            self.wrong.append(str(error))
            return 401, {}
        content = json.loads(body)
        events = content if isinstance(content, list) else [content]
        status, more = self.answer(events)
        self.received.append(Received(at=time.monotonic(), headers=headers, body=body, status=status))
        return status, more

    def _check(self, headers: Headers, body: bytes) -> None:
        if not self.secrets:
            return
        if abs(time.time() - int(headers["webhook-timestamp"])) > _TOLERANCE_S:
            raise SignatureWrong("too old or too new")
        message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        given = headers["webhook-signature"].split(" ")
        for secret in self.secrets:
            key = base64.b64decode(secret.removeprefix("whsec_"))
            right = "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
            if any(hmac.compare_digest(right, one) for one in given):
                return
        raise SignatureWrong("no signature is right")
