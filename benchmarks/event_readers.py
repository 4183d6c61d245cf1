"""Readers of the stream of events, in a process of their own: how much reaches each, and how late.

It reads its task as JSON from its input, and writes a line when all readers are connected, and the figures in the end.
"""

import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

_FOLLOWED = 8
"""How many readers look at the times of their events; the others only count."""
_QUIET_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came of it.

    Attributes:
        events: How many events the readers got: the least, and the most.
        late_ms: From the arrival of a callback to the reader, median and 99th percentile.
    """

    events: tuple[int, int]
    p50_ms: float
    p99_ms: float


@dataclass(slots=True, eq=False)
class Reader(asyncio.Protocol):
    """Reads a stream, and counts."""

    request: bytes
    is_followed: bool
    connected: "asyncio.Future[None]"
    events: int = 0
    late_ms: list[float] = field(default_factory=list)
    last_at: float = 0.0
    _rest: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Count events, and look at the time of the last of them."""
        if not self.connected.done():
            self.connected.set_result(None)
        self.last_at = time.monotonic()
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        lines = data[:end]
        self.events += lines.count(b"data: {")
        if self.is_followed and (at := lines.rfind(b'"time":"')) >= 0:
            sent = datetime.fromisoformat(lines[at + 8 : lines.index(b'"', at + 8)].decode())
            self.late_ms.append((time.time() - sent.timestamp()) * 1000)


async def read(url: str, key: str, readers: int, stuck: int, seconds: float) -> Reading:
    """Follow with so many readers for a time, and until nothing more comes."""
    address = urlsplit(url)
    head = f"GET /events/stream HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    place = (address.hostname or "127.0.0.1", address.port or 80)
    idle = [await asyncio.open_connection(*place, limit=1024) for _ in range(stuck)]
    for _, writer in idle:
        writer.write(head)
    following = [Reader(head, number < _FOLLOWED, loop.create_future()) for number in range(readers)]
    for reader in following:
        await loop.create_connection(lambda reader=reader: reader, *place)  # type: ignore[misc]  # the default is the reader
    await asyncio.gather(*(reader.connected for reader in following))
    print("connected", flush=True)
    await asyncio.sleep(seconds)
    while time.monotonic() - max(reader.last_at for reader in following) < _QUIET_S:  # noqa: ASYNC110 -- it is a poll
        await asyncio.sleep(0.1)
    counts = [reader.events for reader in following]
    ranks = statistics.quantiles([late for reader in following for late in reader.late_ms] or [0.0, 0.0], n=100)
    return Reading(events=(min(counts), max(counts)), p50_ms=ranks[49], p99_ms=ranks[98])


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(read(**json.loads(sys.stdin.readline()))))))
