"""Sends callbacks in great number, as ThingSpace might, and reads what became of them."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import httpx

from tests.support.gateways import AUTHORIZED
from tests.support.vendors import CALLBACK_PATH, message
from tests.support.waiting import until


class Sender:
    """Sends callbacks over many connections, each until it is acknowledged or nobody takes it any more.

    It speaks HTTP by itself, because a client library would take most of the time.

    Attributes:
        acknowledged: The numbers of the callbacks that were answered with 200.
        statuses: How often each status was answered.
    """

    def __init__(
        self, ports: Sequence[int], numbers: Iterable[int], connections: int = 32, *, goes_on: bool = False
    ) -> None:
        """Make a sender.

        Args:
            ports: Where the gateways are; connections are spread over them.
            goes_on: Connect anew, to the next gateway, when a connection breaks, until everything is acknowledged.
        """
        self._ports = ports
        self._left = list(numbers)
        self._connections = connections
        self._goes_on = goes_on
        self._under_way = 0
        self.acknowledged: set[int] = set()
        self.statuses: dict[str, int] = {}

    async def send(self) -> None:
        """Send what is left."""
        await asyncio.gather(*(self._work(first) for first in range(self._connections)))

    async def until(self, acknowledged: int) -> None:
        """Wait until so many are acknowledged."""
        await until(lambda: len(self.acknowledged) >= acknowledged)

    async def _work(self, turn: int) -> None:
        while self._left or (self._goes_on and self._under_way):
            if self._left:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await self._send_over(self._ports[turn % len(self._ports)])
            if not self._goes_on:
                return
            turn += 1
            await asyncio.sleep(0.02)

    async def _send_over(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while self._left:
                number = self._left.pop()
                self._under_way += 1
                is_acknowledged = False
                try:
                    is_acknowledged = await self._is_acknowledged(number, reader, writer)
                finally:
                    self._under_way -= 1
                    if is_acknowledged:
                        self.acknowledged.add(number)
                    else:
                        self._left.append(number)
                if not is_acknowledged:
                    await asyncio.sleep(0.02)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _is_acknowledged(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = json.dumps(message(number)).encode()
        head = f"POST {CALLBACK_PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(answer.partition("content-length:")[2].partition("\r\n")[0]))
        status = answer[9:12]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status == "200"


async def stored_numbers(port: int) -> list[int]:
    """Read which callbacks made a report, by the seconds of their time."""
    async with (
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=AUTHORIZED, timeout=60, trust_env=False
        ) as asking,
        asking.stream("GET", "/reports", headers={"Accept": "application/x-ndjson"}) as answer,
    ):
        lines = [line async for line in answer.aiter_lines()]
    first = message(0)["deviceList"][0]["positionData"]["time"]
    return [_seconds(json.loads(line)["location"]["timestamp"], first) for line in lines if line]


def _seconds(stamp: str, first: str) -> int:
    begun = datetime.strptime(first, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return round((datetime.fromisoformat(stamp) - begun).total_seconds())
