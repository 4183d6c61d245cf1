"""Waiting for what has no event of its own."""

import asyncio
from collections.abc import Callable


async def until(is_so: Callable[[], object], *, timeout_s: float = 60) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: It did not come about in time.
    """
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 -- many things are waited for, few of them are events
            await asyncio.sleep(0.005)
