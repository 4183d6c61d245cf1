"""A limit on calls per second, for accounts whose quota is known."""

import asyncio
import time

from app.errors import ProviderThrottled
from app.model import Deadline


class RateLimiter:
    """Spaces calls evenly; each process keeps its own pace."""

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second
        self._next = 0.0

    async def turn(self, deadline: Deadline) -> None:
        """Wait for a turn.

        Raises:
            ProviderThrottled: The turn would come after the deadline; none is taken.
        """
        now = time.monotonic()
        turn = max(now, self._next)
        if turn > now and turn - now > deadline.left_s():
            raise ProviderThrottled("The configured rate of calls is used up for now.", retry_after_s=turn - now)
        self._next = turn + self._gap_s
        if turn > now:
            await asyncio.sleep(turn - now)
