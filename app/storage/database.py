"""Connections to Postgres: an engine for ordinary work, and plain connections for the writer, readers and streams."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import time_ns
from typing import TypeAlias, TypeVar

import asyncpg
import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.pool import QueuePool

from app.observability import metrics
from app.storage.clock import TOLERATED_SKEW, DatabaseClock
from app.storage.connections import Connection, Connector
from app.storage.driver_errors import CONNECTION_LOST, failure_of, translated
from app.storage.pending import PendingWrites
from app.storage.primary_watch import PrimaryWatch
from app.storage.readers import Readers
from app.storage.standby import BEGIN, POSITION, Standby, StandbyAway, terminated_on_failure

log = structlog.get_logger()
T = TypeVar("T")

Transaction: TypeAlias = AsyncSession
"""A transaction that is open; functions of `storage` take it, use cases only hand it on."""

_COMMAND_TIMEOUT_S = 30


class Database:
    """Opens transactions and connections on one Postgres database; `aclose` ends them.

    Attributes:
        clock: The database's clock, as it was compared last.
        pending: What the writer of this process has not committed yet; reading waits for it.
        watches: To be followed where the URLs name several hosts.
    """

    def __init__(
        self,
        url: str,
        *,
        direct_url: str | None = None,
        read_url: str | None = None,
        pool_size: int = 10,
        pool_timeout_s: float = 10,
    ) -> None:
        """Prepare a pool; nothing is connected until the first use.

        Args:
            direct_url: Leads past a pooler that `url` leads to, for what needs a connection of its own. Where it is
                given, nothing is kept on the other connections from one transaction to the next.
            read_url: Leads to hot standbys that answer what only reads.
        """
        is_pooled = direct_url is not None
        self._connector = Connector(url, is_pooled=is_pooled)
        self._direct = Connector(direct_url) if direct_url is not None else self._connector
        self.engine: AsyncEngine = self._connector.create_engine(
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=True,
            command_timeout_s=_COMMAND_TIMEOUT_S,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._readers = Readers(self._connector, timeout_s=pool_timeout_s, command_timeout_s=_COMMAND_TIMEOUT_S)
        self._standby: Standby | None = None
        if read_url is not None:
            connector = Connector(read_url, is_pooled=is_pooled, role="standby")
            self._standby = Standby(
                connector, self._position, pool_size=pool_size, command_timeout_s=_COMMAND_TIMEOUT_S
            )
        connectors = [self._connector] if direct_url is None else [self._connector, self._direct]
        self.watches = [PrimaryWatch(connector) for connector in connectors if connector.has_several_hosts]
        self.clock = DatabaseClock()
        self.pending = PendingWrites()

    async def compare_clocks(self) -> None:
        """Compare this machine's clock with the database's, so that `clock` shows the database's time.

        Raises:
            Unavailable: The database cannot be reached.
        """
        asked_ms = time_ns() // 1_000_000
        (row,) = await self.fetch_primary("SELECT clock_timestamp() AS now")
        self.clock.compare(row["now"], asked_ms=asked_ms, answered_ms=time_ns() // 1_000_000)
        metrics.CLOCK_SKEW.set(self.clock.skew.total_seconds())
        if abs(self.clock.skew) > TOLERATED_SKEW:
            log.error("this machine's clock is wrong", seconds_ahead_of_database=self.clock.skew.total_seconds())

    @asynccontextmanager
    async def transaction(self, *, after_writes: bool = False) -> AsyncIterator[Transaction]:
        """Open a transaction that commits when the block ends well, and rolls back otherwise.

        Args:
            after_writes: Wait first until everything that this process has accepted is stored.

        Raises:
            Unavailable: The database cannot be reached, or went away, or all connections are in use.
            TransactionConflict: Another transaction got in the way.
        """
        if after_writes:
            await self.pending.settled()
        with translated():
            try:
                async with self._sessions.begin() as session:
                    yield session
            except Exception as error:
                if failure_of(error) == "read_only":
                    # Its address leads to another server soon; a connection that is kept never does.
                    await self._renew()
                raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Transaction]:
        """Open a transaction on the primary that only reads, and finds everything that this process accepted before.

        Raises:
            Unavailable: The database cannot be reached, or went away, or all connections are in use.
        """
        async with self.transaction(after_writes=True) as session:
            yield session

    async def read(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Do work that only reads, as `reading` does, on a standby where there is one.

        It finds what any process has committed before; `standby` says how.

        Args:
            work: May be done a second time, on the primary, after the standby has failed.

        Raises:
            Unavailable: The database cannot be reached, or went away, or all connections are in use.
        """
        await self.pending.settled()
        if self._standby is not None:
            with suppress(StandbyAway):
                return await self._standby.read(work)
        async with self.transaction() as session:
            return await work(session)

    async def connect(self) -> Connection:
        """Open a plain connection outside the pool and past any pooler; the caller closes it."""
        return await self._direct.connect()

    @asynccontextmanager
    async def connection(self, *, after_writes: bool = False) -> AsyncIterator[Connection]:
        """Open a plain connection outside the pool and past any pooler, and end it when the block ends.

        Args:
            after_writes: Wait first until everything that this process has accepted is stored.

        Raises:
            Unavailable: The database cannot be reached, or went away.
        """
        if after_writes:
            await self.pending.settled()
        with translated():
            connection = await self.connect()
            try:
                yield connection
            finally:
                # Works at once, even while a statement runs and the task is being cancelled.
                connection.terminate()

    @asynccontextmanager
    async def long_reading(self, begin: Callable[[Connection], Awaitable[T]]) -> AsyncIterator[T]:
        """Open a connection in a transaction that only reads, as `read` does, and end it when the block ends.

        Args:
            begin: The first work; may be done a second time, on the primary, after the standby has failed. What it
                returns is given to the block; a standby that fails later is as good as a database that does.

        Raises:
            Unavailable: The database cannot be reached, or went away.
        """
        await self.pending.settled()
        with translated():
            connection, begun = await self._begin(begin)
            try:
                yield begun
                await connection.close()
            finally:
                # Works at once, even while a statement runs and the task is being cancelled.
                connection.terminate()

    async def _begin(self, begin: Callable[[Connection], Awaitable[T]]) -> tuple[Connection, T]:
        if self._standby is not None:
            with suppress(StandbyAway):
                return await self._standby.begin(begin)
        connection = await self.connect()
        with terminated_on_failure(connection):
            await connection.execute(BEGIN)
            return connection, await begin(connection)

    async def fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement that only reads, as `read` does, on a plain connection; costs a third of that.

        Raises:
            Unavailable: The database cannot be reached, or does not answer, or all connections are in use.
        """
        await self.pending.settled()
        return await self.fetch_committed(statement, *arguments)

    async def fetch_committed(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement as `fetch` does, without waiting for what this process has accepted and not yet committed.

        Raises:
            Unavailable: The database cannot be reached, or does not answer, or all connections are in use.
        """
        if self._standby is not None:
            with suppress(StandbyAway):
                return await self._standby.fetch(statement, *arguments)
        return await self.fetch_primary(statement, *arguments)

    async def notify(self, channel: str) -> None:
        """Notify all listeners of a channel at once; see `notifications`.

        Raises:
            Unavailable: The database cannot be reached, or does not answer, or all connections are in use.
        """
        await self.fetch_primary("SELECT pg_notify($1, '')", channel)

    async def _position(self) -> str:
        (row,) = await self.fetch_primary(POSITION)
        position: str = row["position"]
        return position

    async def fetch_primary(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement that only reads, on the primary and at once, whatever is still to be stored.

        Raises:
            Unavailable: The database cannot be reached, or does not answer, or all connections are in use.
        """
        with translated():
            try:
                return await self._fetch_once(statement, arguments)
            except CONNECTION_LOST:
                # The server was restarted since the connection was last used, and so it is with all others that are
                # kept; behind a pooler, they stay open. Reading twice does no harm.
                await self._readers.renew()
                return await self._fetch_once(statement, arguments)

    async def _fetch_once(self, statement: str, arguments: "tuple[object, ...]") -> "list[asyncpg.Record]":
        async with self._readers.connection() as connection:
            return await connection.fetch(statement, *arguments)

    def connections_in_use(self) -> tuple[int, int]:
        """Count the pool's connections: those in use, and all there may be."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout(), pool.size()

    async def _renew(self) -> None:
        """Let all connections that are kept be opened anew."""
        await self.engine.dispose()
        await self._readers.renew()

    async def aclose(self) -> None:
        """Close the pools."""
        await self.engine.dispose()
        await self._readers.aclose()
        if self._standby is not None:
            await self._standby.aclose()


async def in_recovery(db: Transaction) -> bool:
    """Return whether the server is a standby, which takes no changes."""
    return bool(await db.scalar(select(func.pg_is_in_recovery())))
