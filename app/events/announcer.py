"""Tells all processes that there is something new in the log, without costing the commits anything.

A notification within a storing transaction would make all such commits wait for each other. So it is sent afterwards,
on another connection, once for all that was committed meanwhile.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.errors import Unavailable
from app.storage.database import Database
from app.storage.events import CHANNEL

_PACE_S = 0.05
# No need to wait for the disk: what it announces is stored already.
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')"


class Announcer:
    """Announces commits; `note` is called after each."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._here: list[Callable[[], None]] = []
        self._news = asyncio.Event()

    def tell(self, learn: Callable[[], None]) -> None:
        """Notify a reader in this process of news at once."""
        self._here.append(learn)

    def note(self) -> None:
        """Take note that events were committed."""
        for learn in self._here:
            learn()
        self._news.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Announcer"]:
        """Announce while the block lasts."""
        task = asyncio.create_task(self._run(), name="announcements")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            # Readers look by themselves from time to time; what is not announced comes later.
            with contextlib.suppress(Unavailable):
                await self._database.fetch_primary(_NOTIFY, CHANNEL)
            await asyncio.sleep(_PACE_S)
