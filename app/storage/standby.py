"""A hot standby that answers what is read, once it has replayed everything that was committed by then.

The position in the log that it has to reach is the primary's own when the reading begins. So whatever any process
acknowledged before that is found, be it this one or another behind the same load balancer; to remember the positions of
this process' commits would promise less. A standby that has not reached it in time, is away, or cancels the query
because of a conflict with its recovery, is left alone for a moment, and the primary answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.observability import metrics
from app.storage.connections import Connection, Connector
from app.storage.driver_errors import failure_of
from app.storage.readers import Readers

log = structlog.get_logger()
T = TypeVar("T")

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
"""Each statement sees what is committed when it begins, and so does a cursor: it has to wait for the standby first."""
POSITION = "SELECT pg_current_wal_flush_lsn()::text AS position"
"""Asks the primary up to where its log holds commits that may have been acknowledged."""
_HAS_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
_HAS_REPLAYED_TEXT = text("SELECT pg_last_wal_replay_lsn() >= CAST(CAST(:position AS text) AS pg_lsn)")

_CATCH_UP_S = 0.2
"""A standby that keeps up is some milliseconds behind. With one that lags, the primary answers sooner than waiting."""
_CONNECT_S = 1.0
_REST_S = 2.0
"""How long a standby that failed is left alone."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.02


class StandbyAway(Exception):
    """The standby does not answer now, or has not caught up; the primary has to be asked."""


class _Terminable(Protocol):
    def terminate(self) -> None: ...


class Standby:
    """Reads from a hot standby; `aclose` closes its connections.

    Args:
        connector: Leads to a standby; a server that is none is not read from.
        position: Asks the primary for `POSITION`.
        pool_size: How many sessions are open at most.
        command_timeout_s: How long to wait for the answer to a statement.
    """

    def __init__(
        self,
        connector: Connector,
        position: Callable[[], Awaitable[str]],
        *,
        pool_size: int,
        command_timeout_s: float,
    ) -> None:
        self._position = position
        self._connector = connector
        self._readers = Readers(connector, timeout_s=_CONNECT_S, command_timeout_s=command_timeout_s)
        self._engine = connector.create_engine(
            pool_size=pool_size, max_overflow=0, pool_timeout=_CONNECT_S, command_timeout_s=command_timeout_s
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._resting_until: float | None = None

    async def fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement that only reads.

        Raises:
            StandbyAway: The primary has to be asked.
            Unavailable: It cannot be asked how far the standby has to be.
        """
        with self._judged():
            position = await self._position()
            async with self._readers.connection() as connection:
                with terminated_on_failure(connection):
                    await _catch_up(lambda: connection.fetchval(_HAS_REPLAYED, position))
                    return await connection.fetch(statement, *arguments)

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Do work that only reads in a session; raises as `fetch`."""
        with self._judged():
            given = {"position": await self._position()}
            async with self._sessions() as session:
                try:
                    await _catch_up(lambda: session.scalar(_HAS_REPLAYED_TEXT, given))
                    return await work(session)
                except BaseException:
                    await session.invalidate()
                    raise

    async def begin(self, work: Callable[[Connection], Awaitable[T]]) -> tuple[Connection, T]:
        """Open a connection, begin a transaction on it, and do work that only reads; raises as `fetch`.

        The caller closes the connection.
        """
        with self._judged():
            position = await self._position()
            async with asyncio.timeout(_CONNECT_S):
                connection = await self._connector.connect()
            with terminated_on_failure(connection):
                await connection.execute(BEGIN)
                await _catch_up(lambda: connection.fetchval(_HAS_REPLAYED, position))
                return connection, await work(connection)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Leave the standby alone for a moment after a failure."""
        now = time.monotonic()
        if self._resting_until is not None:
            if now < self._resting_until:
                metrics.READS.labels("primary").inc()
                raise StandbyAway
            # This one finds out for all whether it is back.
            self._resting_until = now + _REST_S
        try:
            yield
        except Exception as error:
            if failure_of(error) is None:
                raise
            # What is due to the statement is raised by the primary once more.
            if self._resting_until is None:
                log.warning("reading from the primary, not from the standby", error=type(error).__name__)
            self._resting_until = time.monotonic() + _REST_S
            metrics.READS.labels("primary").inc()
            raise StandbyAway from error
        if self._resting_until is not None:
            log.info("reading from the standby again")
            self._resting_until = None
        metrics.READS.labels("standby").inc()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._readers.aclose()
        await self._engine.dispose()


async def _catch_up(has_replayed: Callable[[], Awaitable[bool | None]]) -> None:
    """Wait until a standby has replayed the log up to a position.

    Raises:
        TimeoutError: It is not there yet.
    """
    pause_s = _FIRST_PAUSE_S
    async with asyncio.timeout(_CATCH_UP_S):
        while not await has_replayed():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


@contextmanager
def terminated_on_failure(connection: _Terminable) -> Iterator[None]:
    """End a connection on which something failed at once, since a server that hangs would keep its release waiting."""
    try:
        yield
    except BaseException:
        connection.terminate()
        raise
