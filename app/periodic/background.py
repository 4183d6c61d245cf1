"""Database work that is repeated until it succeeds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.errors import TransactionConflict, Unavailable

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0


async def persistently(work: Callable[[], Awaitable[T]], *, for_s: float) -> T:
    """Do database work until it succeeds, however often other transactions get in its way.

    Raises:
        Unavailable: The database has been away for `for_s` seconds.
    """
    wait_s = _FIRST_WAIT_S
    until = asyncio.get_running_loop().time() + for_s
    while True:
        try:
            return await work()
        except TransactionConflict:
            pass
        except Unavailable:
            if asyncio.get_running_loop().time() + wait_s > until:
                raise
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
