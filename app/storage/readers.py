"""Plain connections that are kept for reading pages, planned along the indexes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from app.storage.connections import Connection, Connector, is_standby
from app.storage.driver_errors import failure_of

Lent: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
"""A connection of the pool, for as long as the block lasts."""

_READERS = 5
_PLANS = ("enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "jit = off")
_ONE_PLAN = "plan_cache_mode = force_generic_plan"
"""Planning for dozens of partitions takes longer than reading a page: one plan along the indexes serves for good."""

_REFUSE_STANDBY = "DO $$ BEGIN IF pg_is_in_recovery() THEN RAISE SQLSTATE '25006'; END IF; END $$"


class Readers:
    """A pool of connections to one server, opened when they are first needed; `aclose` closes them.

    Args:
        timeout_s: How long to wait for a connection.
        command_timeout_s: How long to wait for the answer to a statement.
    """

    def __init__(self, connector: Connector, *, timeout_s: float, command_timeout_s: float) -> None:
        self._connector = connector
        self._timeout_s = timeout_s
        self._command_timeout_s = command_timeout_s
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Lent]:
        """Lend a connection; where a pooler is in between, in a transaction, since nothing may be kept on it.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: There is none.
        """
        async with (await self._opened()).acquire(timeout=self._timeout_s) as connection:
            if self._connector.role == "primary" and is_standby(connection):
                connection.terminate()
                raise asyncpg.InterfaceError("the server has become a standby")
            if not self._connector.is_pooled:
                yield connection
                return
            async with connection.transaction():
                await self._prepare(connection)
                yield connection

    async def _prepare(self, connection: Lent) -> None:
        """Set up a transaction behind a pooler, which does not say that its server has become a standby."""
        check = _REFUSE_STANDBY if self._connector.role == "primary" else ""
        try:
            await connection.execute("; ".join([*(f"SET LOCAL {setting}" for setting in _PLANS), check]))
        except Exception as error:
            if failure_of(error) != "read_only":
                raise
            connection.terminate()
            raise asyncpg.InterfaceError("the server has become a standby") from None

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                connect=self._connector.connect,
                min_size=0,
                max_size=_READERS,
                init=None if self._connector.is_pooled else _plan_by_index,
                reset=_keep_as_it_is,
                command_timeout=self._command_timeout_s,
            )
        # Does nothing but the first time.
        await self._pool
        return self._pool

    async def renew(self) -> None:
        """Let all connections that are kept be opened anew."""
        if self._pool is not None:
            await self._pool.expire_connections()

    async def aclose(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await self._pool.close()


async def _plan_by_index(connection: Connection) -> None:
    await connection.execute("; ".join(f"SET {setting}" for setting in (*_PLANS, _ONE_PLAN)))


async def _keep_as_it_is(_: object) -> None:
    """Leave out what a pool does to clean up a returned connection, which takes a round trip; readers leave no dirt."""
