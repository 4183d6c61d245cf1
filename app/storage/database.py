"""Connections to Postgres: an engine for ordinary work, and plain connections for the writer, readers and streams."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import time_ns

import asyncpg
import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.errors import Unavailable
from app.observability import metrics
from app.storage.clock import TOLERATED_SKEW, DatabaseClock
from app.storage.connections import Connection, Connector, is_standby

log = structlog.get_logger()

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
_COMMAND_TIMEOUT_S = 30
_READING_PLANS = ("enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "jit = off")
_ONE_PLAN = "plan_cache_mode = force_generic_plan"
"""Planning for dozens of partitions takes longer than reading a page: one plan along the indexes serves for good."""


class Database:
    """Opens sessions and connections on one Postgres database; `aclose` ends them."""

    def __init__(
        self, url: str, *, direct_url: str | None = None, pool_size: int = 10, pool_timeout_s: float = 10
    ) -> None:
        """Prepare a pool; nothing is connected until the first use.

        Args:
            direct_url: Leads past a pooler that `url` leads to, for what needs a connection of its own. Where it is
                given, nothing is kept on the other connections from one transaction to the next.
        """
        self._connector = Connector(url, is_pooled=direct_url is not None)
        self._direct = Connector(direct_url) if direct_url is not None else self._connector
        self.engine: AsyncEngine = self._connector.create_engine(
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=True,
            command_timeout_s=_COMMAND_TIMEOUT_S,
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
        except Unavailable as error:
            if _is_read_only(error):
                # Its address leads to another server soon; a connection that is kept never does.
                await self._renew()
            raise

    async def connect(self) -> Connection:
        """Open a plain connection outside the pool and past any pooler; the caller closes it."""
        return await self._direct.connect()

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
                connect=self._connector.connect,
                min_size=0,
                max_size=_READERS,
                init=None if self._connector.is_pooled else _plan_by_index,
                reset=_keep_as_it_is,
                command_timeout=_COMMAND_TIMEOUT_S,
            )
        # Does nothing but the first time.
        await self._readers
        async with self._readers.acquire(timeout=self._pool_timeout_s) as connection:
            if is_standby(connection):
                connection.terminate()
                raise asyncpg.InterfaceError("the server has become a standby")
            if not self._connector.is_pooled:
                return await connection.fetch(statement, *arguments)
            async with connection.transaction():
                await connection.execute("; ".join(f"SET LOCAL {setting}" for setting in _READING_PLANS))
                return await connection.fetch(statement, *arguments)

    async def _renew(self) -> None:
        """Let all connections that are kept be opened anew."""
        await self.engine.dispose()
        if self._readers is not None:
            await self._readers.expire_connections()

    async def aclose(self) -> None:
        """Close the pools."""
        await self.engine.dispose()
        if self._readers is not None:
            await self._readers.close()


async def _plan_by_index(connection: Connection) -> None:
    await connection.execute("; ".join(f"SET {setting}" for setting in (*_READING_PLANS, _ONE_PLAN)))


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


async def in_recovery(session: AsyncSession) -> bool:
    """Tell whether the server is a standby, which takes no changes."""
    return bool(await session.scalar(select(func.pg_is_in_recovery())))


def _is_read_only(error: Unavailable) -> bool:
    cause = error.__cause__
    if isinstance(cause, DBAPIError) and cause.orig is not None:
        cause = cause.orig.__cause__
    return isinstance(cause, asyncpg.ReadOnlySQLTransactionError)


def _unavailable(cause: BaseException | None) -> Unavailable:
    if isinstance(cause, UNMIGRATED):
        return Unavailable(NOT_MIGRATED, retry_after_s=5)
    return Unavailable("The database cannot be reached, or is too busy.", retry_after_s=5)
