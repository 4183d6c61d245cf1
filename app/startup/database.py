"""Checks of the database, and one sentence for each reason why it cannot be used."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.embedded_postgres import EmbeddedPostgres
from app.errors import DatabaseUnusable
from app.settings import Settings
from app.storage.connections import Connector
from app.storage.driver_errors import NOT_MIGRATED
from app.storage.migrate import upgrade
from app.storage.revisions import is_older
from app.storage.urls import Target, target_of

OLDEST_POSTGRES = 15
_TIMEOUT_S = 5.0

Reason = Literal["unreachable", "refused", "missing", "unmigrated", "too_old"]

_REVISION = "SELECT version_num FROM alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """What was found at a database.

    Attributes:
        version: Of Postgres.
        revision: Of the schema; None before the first migration.
    """

    version: str
    revision: str | None


@asynccontextmanager
async def database_of(settings: Settings, *, migrated: bool = True) -> AsyncIterator[str]:
    """Yield the URL of the configured database, or of the embedded one, which runs as long as the block.

    Args:
        migrated: Whether it must have all tables that this release needs; the embedded one is migrated then.

    Raises:
        DatabaseUnusable: The database cannot be used, or fails in the block.
        EmbeddedPostgresFailed: The embedded one cannot be started.
    """
    if (url := settings.direct_database_url) is not None:
        await check_database(url, migrated=migrated)
        async with explained(url):
            yield url
        return
    async with EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin) as server, explained(server.url):
        if migrated:
            await upgrade(server.url)
        yield server.url


async def check_database(url: str, *, migrated: bool = True, is_pooled: bool = False) -> DatabaseState:
    """Connect to the database once.

    Args:
        url: Of the database, as configured.
        migrated: Whether the database must have all tables that this release needs.
        is_pooled: Whether a pooler in transaction mode is in between.

    Raises:
        DatabaseUnusable: The database cannot be used; the text states why and what to do.
    """
    async with explained(url):
        connection = await Connector(url, is_pooled=is_pooled).connect()
        try:
            version = connection.get_server_version()
            revision = await _revision(connection)
        finally:
            await connection.close(timeout=_TIMEOUT_S)
    if version.major < OLDEST_POSTGRES:
        raise _unusable("too_old", f"{target_of(url)} is older than version {OLDEST_POSTGRES}; use a newer one.")
    if migrated and is_older(revision):
        raise _unusable("unmigrated", NOT_MIGRATED)
    return DatabaseState(version=f"{version.major}.{version.micro}", revision=revision)


@asynccontextmanager
async def explained(url: str) -> AsyncIterator[None]:
    """Raise what the driver raises in the block as `DatabaseUnusable`, without repeating its text.

    Raises:
        DatabaseUnusable: The database cannot be used.
    """
    try:
        yield
    except DBAPIError as error:
        raise explain(_cause(error), target_of(url)) from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise explain(error, target_of(url)) from None


def _unusable(reason: Reason, detail: str) -> DatabaseUnusable:
    error = DatabaseUnusable(detail)
    error.reason = reason
    return error


def explain(error: BaseException, target: Target) -> DatabaseUnusable:  # noqa: C901 -- one case per cause
    """Describe in one sentence why a database cannot be used, and the remedy."""
    match error:
        case socket.gaierror():
            detail = f"The host name {target.host} is not known; correct it in GATEWAY_DATABASE_URL."
        case TimeoutError():
            detail = f"{target} does not answer in time; check the address in GATEWAY_DATABASE_URL, and firewalls."
        case ssl.SSLError():
            detail = f"No TLS connection can be made to {target}; see sslmode and sslrootcert in GATEWAY_DATABASE_URL."
        case OSError():
            detail = f"Nothing answers at {target.address}; start Postgres there, or correct GATEWAY_DATABASE_URL."
        case asyncpg.InvalidAuthorizationSpecificationError():
            detail = f"{target} refuses the user or the password; correct them in GATEWAY_DATABASE_URL."
            return _unusable("refused", detail)
        case asyncpg.InvalidCatalogNameError():
            return _unusable(
                "missing",
                f"There is no database {target.name} at {target.address}; create it there (createdb {target.name}), or "
                "correct GATEWAY_DATABASE_URL.",
            )
        case asyncpg.InsufficientPrivilegeError():
            detail = f"The user of GATEWAY_DATABASE_URL may not do that in {target}; make it the owner of the database."
            return _unusable("refused", detail)
        case asyncpg.TooManyConnectionsError():
            detail = f"{target} has no connection left; raise its max_connections, or lower GATEWAY_DATABASE_POOL."
        case asyncpg.TargetServerAttributeNotMatched():
            detail = (
                "No server of GATEWAY_DATABASE_URL is the primary; wait for the failover to end, or correct the URL."
            )
        case asyncpg.CannotConnectNowError():
            detail = f"{target} is starting or stopping; try again in a moment."
        case _:
            detail = f"{target} cannot be used ({type(error).__name__}); see the log of Postgres."
    return _unusable("unreachable", detail)


def _cause(error: DBAPIError) -> BaseException:
    """Find what the driver raised within SQLAlchemy's own error."""
    return getattr(error.orig, "__cause__", None) or error


async def _revision(connection: "asyncpg.Connection[asyncpg.Record]") -> str | None:
    try:
        revision: str | None = await connection.fetchval(_REVISION)
    except asyncpg.UndefinedTableError:
        return None
    return revision
