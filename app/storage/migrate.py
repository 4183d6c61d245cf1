"""Brings a database to the present schema with Alembic; any number of processes may do it at once."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.storage.urls import to_async_url, to_dsn

__all__ = ["current", "downgrade", "is_current", "partitions", "revision", "to_async_url", "to_dsn", "upgrade"]

_PACKAGE = Path(__file__).parents[1]
MIGRATIONS = next(place for place in (_PACKAGE / "migrations", _PACKAGE.parent / "migrations") if place.is_dir())
"""Within the package where it is installed, beside it in the repository."""

_LOCK = 0x6C6F_6361_7465_0000


async def upgrade(url: str, target: str = "head") -> None:
    """Apply the migrations that are missing up to `target`; do nothing where there are none."""
    async with _connect(url) as connection:
        if target == "head" and await is_current(connection):
            return
        await _run(connection, lambda config: command.upgrade(config, target))


async def downgrade(url: str, target: str) -> None:
    """Undo migrations down to `target`: a revision, `-1` for one step, `base` for all. Their data is lost."""
    async with _connect(url) as connection:
        await _run(connection, lambda config: command.downgrade(config, target))


async def revision(url: str, message: str, folder: Path = MIGRATIONS) -> None:
    """Write a new migration from the difference between the tables in the code and those in the database."""
    async with _connect(url) as connection:
        await _run(connection, lambda config: command.revision(config, message, autogenerate=True), folder)


async def current(url: str) -> str | None:
    """Tell the revision of a database, or None before its first migration."""
    async with _connect(url) as connection:
        return await connection.run_sync(_revision)


async def is_current(connection: AsyncConnection) -> bool:
    """Tell whether the database has all that this release needs.

    A revision that this release does not know counts: a newer release made it, during a rolling update.
    """
    return not is_older(await connection.run_sync(_revision))


def is_older(revision: str | None) -> bool:
    """Tell whether a revision, or None before the first migration, lacks something that this release needs."""
    return revision is None or revision in _older_revisions()


def partitions(connection: Connection) -> set[str]:
    """Name the tables that are partitions of others; they follow their parents and are not compared with the code."""
    rows = connection.execute(text("SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')"))
    return set(rows.scalars())


@cache
def _older_revisions() -> frozenset[str]:
    scripts = ScriptDirectory(str(MIGRATIONS))
    return frozenset(script.revision for script in scripts.walk_revisions() if not script.is_head)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(to_async_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _run(connection: AsyncConnection, action: Callable[[Config], object], folder: Path = MIGRATIONS) -> None:
    # The lock belongs to the connection, not to a transaction, so that a migration may commit between its steps.
    await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
    await connection.commit()
    await connection.run_sync(lambda bound: action(_config(bound, folder)))
    await connection.commit()
    await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
    await connection.commit()


def _config(connection: Connection, folder: Path) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
