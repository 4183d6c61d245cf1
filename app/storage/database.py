"""Connections to Postgres: an engine for ordinary work, and plain connections for the writer, readers and streams."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import time_ns
from typing import TypeAlias

import asyncpg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.errors import Unavailable
from app.observability import metrics
from app.storage.clock import TOLERATED_SKEW, DatabaseClock
from app.storage.migrate import to_async_url, to_dsn

log = structlog.get_logger()

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""A plain connection; the class is generic for type checkers alone."""

CONNECT_TIMEOUT_S = 5.0
AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg may raise when the server dies in the middle of an answer
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,  # too many connections, among others
    asyncpg.InvalidAuthorizationSpecificationError,  # the password has been changed, for us or by us
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What the driver raises when the database is away, full, or another one than it was."""

UNMIGRATED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
)
"""What a statement of ours raises when the database lacks what the migrations make."""
NOT_MIGRATED = "The database has not been migrated; run: location-gateway migrate"

_CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)
_READERS = 5
_READING_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""Planning for dozens of partitions takes longer than reading a page: one plan along the indexes serves for good."""


class Database:
    """Opens sessions and connections on one Postgres database; `aclose` ends them."""

    def __init__(self, url: str, *, pool_size: int = 10, pool_timeout_s: float = 10) -> None:
        """Prepare a pool; nothing is connected until the first use."""
        self._dsn = to_dsn(url)
        self.engine: AsyncEngine = create_async_engine(
            to_async_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": 30},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._readers: asyncpg.Pool[asyncpg.Record] | None = None
        self._pool_timeout_s = pool_timeout_s
        self.clock = DatabaseClock()

    async def compare_clocks(self) -> None:
        """Compare this machine's clock with the database's, so that `clock` tells the database's time.

        Raises:
            Unavailable: The database cannot be reached.
        """
        asked_ms = time_ns() // 1_000_000
        (row,) = await self.fetch("SELECT clock_timestamp() AS now")
        self.clock.compare(row["now"], asked_ms=asked_ms, answered_ms=time_ns() // 1_000_000)
        metrics.CLOCK_SKEW.set(self.clock.skew.total_seconds())
        if abs(self.clock.skew) > TOLERATED_SKEW:
            log.error("this machine's clock is wrong", seconds_ahead_of_database=self.clock.skew.total_seconds())

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session whose transaction commits when the block ends well, and rolls back otherwise.

        Raises:
            Unavailable: The database cannot be reached, or went away, or all connections are in use.
        """
        try:
            with reaching():
                async with self._sessions.begin() as session:
                    yield session
        except NoConnectionFree as error:
            raise Unavailable("All database connections are in use.", retry_after_s=1) from error

    async def connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a plain connection outside the pool; the caller closes it."""
        return await asyncpg.connect(self._dsn, timeout=CONNECT_TIMEOUT_S)

    async def fetch(self, statement: str, *arguments: object) -> "list[asyncpg.Record]":
        """Run one statement that only reads, on a plain connection; costs a third of a session.

        Raises:
            Unavailable: The database cannot be reached, or does not answer, or all connections are in use.
        """
        with reaching():
            try:
                return await self._fetch(statement, arguments)
            except _CONNECTION_LOST:
                # The server was restarted since the connection was last used; reading twice does no harm.
                return await self._fetch(statement, arguments)

    async def _fetch(self, statement: str, arguments: "tuple[object, ...]") -> "list[asyncpg.Record]":
        if self._readers is None:
            self._readers = asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=_READERS,
                reset=_keep_as_it_is,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=30,
                server_settings=_READING_PLANS,
            )
        # Does nothing but the first time.
        await self._readers
        async with self._readers.acquire(timeout=self._pool_timeout_s) as connection:
            return await connection.fetch(statement, *arguments)

    async def aclose(self) -> None:
        """Close the pools."""
        await self.engine.dispose()
        if self._readers is not None:
            await self._readers.close()


async def _keep_as_it_is(_: object) -> None:
    """Leave out what a pool does to clean up a returned connection, which takes a round trip; readers leave no dirt."""


@contextmanager
def reaching() -> Iterator[None]:
    """Raise what the driver, or the engine above it, raises when the database cannot do its work as `Unavailable`.

    Raises:
        Unavailable: The database cannot be reached, is too busy, or has not been migrated.
    """
    try:
        yield
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        if not error.connection_invalidated and not isinstance(cause, (*AWAY, *UNMIGRATED)):
            raise
        raise _unavailable(cause) from error
    except (*AWAY, *UNMIGRATED, TimeoutError) as error:
        raise _unavailable(error) from error


def _unavailable(cause: BaseException | None) -> Unavailable:
    if isinstance(cause, UNMIGRATED):
        return Unavailable(NOT_MIGRATED, retry_after_s=5)
    return Unavailable("The database cannot be reached, or is too busy.", retry_after_s=5)
