"""Database work that is repeated until it succeeds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.errors import Unavailable

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_TRY_AGAIN = frozenset({asyncpg.DeadlockDetectedError.sqlstate, asyncpg.SerializationError.sqlstate})


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
