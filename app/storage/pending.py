"""Entries that are queued and not committed yet: readers wait for them, to find what was accepted before."""

import asyncio


class PendingWrites:
    """Batches on their way into the database; the writer adds and removes them, readers wait for them."""

    def __init__(self) -> None:
        self._open: dict[asyncio.Future[None], None] = {}

    def add(self, done: asyncio.Future[None]) -> None:
        """Note a batch, by the future that is done when the batch is committed or refused."""
        self._open[done] = None

    def remove(self, done: asyncio.Future[None]) -> None:
        """Note that a batch is committed or refused."""
        del self._open[done]

    async def settled(self) -> None:
        """Wait until everything queued before this call is committed or refused."""
        if self._open:
            await asyncio.wait(list(self._open))
