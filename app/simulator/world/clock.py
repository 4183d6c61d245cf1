"""Simulated time: real, faster than real, or moved by hand."""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_TURNS = 20
"""How often the event loop goes round after each step of a manual clock, for what was woken to do its work."""


class Clock(Protocol):
    """Tells the simulated time, and waits in it."""

    def now(self) -> datetime:
        """Return the simulated instant, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for that many simulated seconds."""
        ...


class RealClock:
    """A clock that starts at the real time and runs `speed` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._started_at = datetime.now(UTC)
        self._started_s = time.monotonic()

    def now(self) -> datetime:
        """Return the simulated instant, in UTC."""
        return self._started_at + timedelta(seconds=(time.monotonic() - self._started_s) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait for that many simulated seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)


class ManualClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """Return the simulated instant, in UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced that far."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self._now + timedelta(seconds=max(0.0, seconds))
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        if due <= self._now:
            self._wake(due)
        await woken

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at every instant somebody sleeps for; who falls asleep again on the way is woken too."""
        end = self._now + timedelta(seconds=seconds)
        await _let_others_run()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now = max(self._now, self._sleepers[0][0])
            self._wake(self._now)
            await _let_others_run()
        self._now = end

    def _wake(self, until: datetime) -> None:
        while self._sleepers and self._sleepers[0][0] <= until:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)


async def _let_others_run() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
