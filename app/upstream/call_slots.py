"""How many calls of one request are made at a time."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.model import Deadline
from app.upstream.call_times import CallTimes

_LOOK_AGAIN_S = 0.25


class CallSlots:
    """Lets few calls through at a time, and more where they could not all end before the deadline otherwise."""

    def __init__(self, times: CallTimes, deadline: Deadline, *, fewest: int, most: int) -> None:
        """Begin with no call under way.

        Args:
            fewest: How many calls may be under way at once in any case.
            most: How many at most.
        """
        self._times = times
        self._deadline = deadline
        self._fewest = fewest
        self._most = most
        self._waiting = 0
        self._begun: list[float] = []
        """When the calls under way were begun, as seconds before the deadline."""
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for one call.

        Raises:
            TimeTooShort: The call could not end in time any more; it must not be made.
        """
        if len(self._begun) >= self._fewest:
            await self._wait()
        self._times.check(self._deadline)
        begun = self._deadline.left_s()
        self._begun.append(begun)
        try:
            yield
        finally:
            self._begun.remove(begun)
            self._freed.set()

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            while len(self._begun) >= self._allowed():
                self._times.check(self._deadline)
                self._freed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await self._freed.wait()
        finally:
            self._waiting -= 1

    def _allowed(self) -> int:
        left_s = self._deadline.left_s()
        # A call that is not answered yet takes at least as long as it has been under way.
        call_s = max(self._times.longest_s, *(begun - left_s for begun in self._begun), 0.001)
        rounds = max(1, math.floor(left_s / call_s))
        needed = math.ceil((len(self._begun) + self._waiting) / rounds)
        return min(self._most, max(self._fewest, needed))
