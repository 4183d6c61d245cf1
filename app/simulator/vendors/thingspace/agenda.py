"""What is to happen later: one heap of due times, worked off by one task."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from app.simulator.state import State

Action = Callable[[], Awaitable[None]]


class Agenda:
    """Actions with their due times, and the count of work that they have set off and that is not finished.

    At full speed nobody waits for a due time: as soon as all work is finished, the agenda's time jumps to the next
    one. It then stays ahead of the simulator's clock; tokens and synchronous answers keep to the clock.

    Attributes:
        full_speed: Whether to jump instead of to wait; see `set_full_speed`.
    """

    def __init__(self, state: State) -> None:
        self.full_speed = state.options.full_speed
        self._clock = state.clock
        self._ahead = timedelta(0)
        self._entries: list[tuple[datetime, int, Action]] = []
        self._order = itertools.count()
        self._outstanding = 0
        self._is_acting = False
        self._changed = asyncio.Event()
        self._progressed = asyncio.Event()

    @property
    def outstanding(self) -> int:
        """How much work is begun and not finished."""
        return self._outstanding

    @property
    def waiting(self) -> int:
        """How many actions are still to come."""
        return len(self._entries)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way and nothing due; at full speed, everything that is planned is due."""
        has_due = bool(self._entries) and (self.full_speed or self._entries[0][0] <= self.now())
        return not (self._outstanding or self._is_acting or has_due)

    def now(self) -> datetime:
        """Return the agenda's time."""
        return self._clock.now() + self._ahead

    def at(self, due: datetime, action: Action) -> None:
        """Plan an action; actions of the same due time keep their order."""
        heapq.heappush(self._entries, (due, next(self._order), action))
        self._changed.set()

    def after(self, seconds: float, action: Action) -> None:
        """Plan an action for so many simulated seconds from now."""
        self.at(self.now() + timedelta(seconds=seconds), action)

    def begun(self) -> None:
        """Count a piece of work that has begun."""
        self._outstanding += 1

    def finished(self) -> None:
        """Count a piece of work that is finished, in whichever way."""
        self._outstanding -= 1
        if self._outstanding == 0:
            self._changed.set()
            self._progressed.set()

    def set_full_speed(self, *, is_on: bool) -> None:
        """Begin or cease to jump from one due time to the next."""
        self.full_speed = is_on
        self._changed.set()

    async def wait_until_idle(self, limit_s: float) -> bool:
        """Wait until nothing is left to do, but not longer than so many real seconds; return whether that was so."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not self.is_idle:
                    self._progressed.clear()
                    await self._progressed.wait()
        return self.is_idle

    async def run(self) -> None:
        """Act on what is due, for ever."""
        while True:
            while self._entries and self._entries[0][0] <= self.now():
                await self._act()
            self._progressed.set()
            await self._until_next()

    async def _act(self) -> None:
        _, _, action = heapq.heappop(self._entries)
        self._is_acting = True
        try:
            await action()
        finally:
            self._is_acting = False

    async def _until_next(self) -> None:
        self._changed.clear()
        if not self._entries:
            await self._changed.wait()
            return
        if not self.full_speed:
            await self._sleep_or_change(self._entries[0][0])
        elif self._outstanding:
            await self._changed.wait()
        else:
            self._ahead += max(self._entries[0][0] - self.now(), timedelta(0))
            # A session that never ends and whose callbacks are all lost would leave nobody else a turn.
            await asyncio.sleep(0)

    async def _sleep_or_change(self, due: datetime) -> None:
        waits = [asyncio.create_task(self._sleep(due)), asyncio.create_task(self._changed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _sleep(self, due: datetime) -> None:
        # Computed here and not before: until this task runs, a manual clock may have been moved.
        await self._clock.sleep((due - self.now()).total_seconds())
