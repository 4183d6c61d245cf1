"""Brings a database to the present schema with Alembic; any number of processes may do it at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from app.errors import Unavailable
from app.storage.connections import Connector
from app.storage.driver_errors import failure_of
from app.storage.revisions import MIGRATIONS, Route, is_older, route

__all__ = [
    "MIGRATIONS",
    "current",
    "downgrade",
    "is_current",
    "migrate",
    "partitions",
    "revision",
    "to_sql",
    "upgrade",
]

_LOCK = 0x6C6F_6361_7465_0000
_LOOK_EVERY_S = 0.1
_LOCK_WAIT_S = 2.0
"""Senders bear so long a pause. A lock that is waited for behind a long export would keep everybody out for minutes."""
_LET_PASS_S = 1.0
_MOST_TRIES = 100


async def migrate(
    url: str,
    target: str = "head",
    *,
    on_route: Callable[[Route], None] = lambda _: None,
    on_step: Callable[[str], None] = lambda _: None,
    lock_wait_s: float = _LOCK_WAIT_S,
) -> Route:
    """Apply migrations, or undo them with their data, until the database is at a target; return the way that it went.

    Args:
        target: `head`, `base`, a revision, or a number of steps such as -1.
        on_route: Called with the way before the first step.
        on_step: Called with each revision that has been applied or undone.
        lock_wait_s: How long to wait for a lock, with all others behind, before they are let pass and it is tried anew.

    Raises:
        InvalidArgument: There is no such revision.
        IncompatibleState: Only a newer release can undo what it did.
        Unavailable: A table was in use all the time.
    """
    async with _connect(url) as connection:
        if target == "head" and await is_current(connection):
            return route(await connection.run_sync(_revision), target)
        async with _alone(connection):
            way = route(await connection.run_sync(_revision), target)
            on_route(way)
            if not way.steps:
                return way
            for _ in range(_MOST_TRIES):
                if await _go(connection, way.end or "base", on_step, lock_wait_s):
                    return way
                await asyncio.sleep(_LET_PASS_S)
            raise Unavailable("Long transactions use a table; run migrate again when they have ended.")


async def _go(connection: AsyncConnection, target: str, on_step: Callable[[str], None], lock_wait_s: float) -> bool:
    """Go what is left of the way to a target; return False where a lock was not to be had in time."""
    way = route(await connection.run_sync(_revision), target)
    go = command.upgrade if way.is_upgrade else command.downgrade
    try:
        await connection.run_sync(lambda bound: go(_config(MIGRATIONS, bound, on_step, lock_wait_s), target))
    except Exception as error:
        if failure_of(error) != "locked":
            raise
        await connection.rollback()
        return False
    await connection.commit()
    return True


async def upgrade(url: str, target: str = "head") -> None:
    """Apply the migrations that are missing up to `target`; do nothing where there are none."""
    await migrate(url, target)


async def downgrade(url: str, target: str) -> None:
    """Undo migrations down to `target`: a revision, `-1` for one step, `base` for all. Their data is lost."""
    await migrate(url, target)


def to_sql(start: str | None, target: str) -> str:
    """Write the SQL that leads from one revision to another, without a database.

    Raises:
        InvalidArgument: There is no such revision.
    """
    way = route(start, target)
    written = StringIO()
    config = _config(MIGRATIONS)
    config.output_buffer = written
    go = command.upgrade if way.is_upgrade else command.downgrade
    if way.steps:
        go(config, f"{way.start or 'base'}:{way.end or 'base'}", sql=True)
    return written.getvalue()


async def revision(url: str, message: str, folder: Path = MIGRATIONS) -> None:
    """Write a new migration from the difference between the tables in the code and those in the database."""
    async with _connect(url) as connection, _alone(connection):
        await connection.run_sync(lambda bound: command.revision(_config(folder, bound), message, autogenerate=True))
        await connection.commit()


async def current(url: str) -> str | None:
    """Return the revision of a database, or None before its first migration."""
    async with _connect(url) as connection:
        return await connection.run_sync(_revision)


async def is_current(connection: AsyncConnection) -> bool:
    """Return whether the database has all that this release needs."""
    return not is_older(await connection.run_sync(_revision))


def partitions(connection: Connection) -> set[str]:
    """Name the tables that are partitions of others; they follow their parents and are not compared with the code."""
    rows = connection.execute(text("SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')"))
    return set(rows.scalars())


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AsyncConnection]:
    engine = Connector(url).create_engine(poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def _alone(connection: AsyncConnection) -> AsyncIterator[None]:
    """Keep other processes from migrating the database meanwhile."""
    # The lock belongs to the connection, not to a transaction, so that a migration may commit between its steps. Where
    # the block fails, the connection ends, and with it the lock. Waiting in a statement would hold a snapshot, and an
    # index that is built concurrently waits for all snapshots.
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
        await connection.commit()
        await asyncio.sleep(_LOOK_EVERY_S)
    await connection.commit()
    yield
    await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
    await connection.commit()


def _config(
    folder: Path,
    connection: Connection | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    lock_wait_s: float = _LOCK_WAIT_S,
) -> Config:
    config = Config(attributes={"connection": connection, "on_step": on_step, "lock_wait_s": lock_wait_s})
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
