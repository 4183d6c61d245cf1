"""Work that goes on when its caller has gone away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.errors import GatewayError, Unavailable

T = TypeVar("T")

log = structlog.get_logger()

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_TRY_AGAIN = frozenset({asyncpg.DeadlockDetectedError.sqlstate, asyncpg.SerializationError.sqlstate})


class Background:
    """Owns tasks; `running` waits for them at the end."""

    def __init__(self, *, patience_s: float) -> None:
        """Make an owner that waits `patience_s` seconds for the last tasks when it ends."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._patience_s = patience_s

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start work that nobody's going away cancels; await the task through `asyncio.shield`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        # Whoever still waits raises it; nobody may be left to.
        if error is not None and not isinstance(error, GatewayError):
            log.error("work failed in the background", error=type(error).__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let tasks run while the block lasts, and a little longer."""
        try:
            yield
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._patience_s)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def persistently(work: Callable[[], Awaitable[T]], *, for_s: float) -> T:
    """Do database work until it succeeds, across deadlocks and anything that keeps the database from it.

    Raises:
        Unavailable, SQLAlchemyError: It has not succeeded for `for_s` seconds.
    """
    wait_s = _FIRST_WAIT_S
    until = asyncio.get_running_loop().time() + for_s
    while True:
        try:
            return await work()
        except (Unavailable, SQLAlchemyError) as error:
            if asyncio.get_running_loop().time() + wait_s > until and not _is_deadlock(error):
                raise
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _is_deadlock(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _TRY_AGAIN
