"""What asyncpg, and SQLAlchemy above it, raise, and what it means: the one module that knows.

Statements of ours are sound, so what they fail for is the state of the database, the other transactions, or the data.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import TransactionConflict, Unavailable

POOLED = "A pooler in transaction mode is in between; set GATEWAY_DATABASE_DIRECT_URL to an address past it."
NOT_MIGRATED = "The database has not been migrated; run: location-gateway migrate"

Failure = Literal[
    "away", "read_only", "locked", "pooled", "unmigrated", "conflict", "duplicate", "unstorable", "refused"
]
"""Why a statement failed.

* away: The database cannot be reached, is full, is stopping, or is another one than it was.
* read_only: The server has become a standby.
* locked: A lock was not to be had in time.
* pooled: A prepared statement was on another server, as behind a pooler that keeps nothing between transactions.
* unmigrated: The database lacks what the migrations make.
* conflict: Another transaction got in the way, and nothing was changed; the same statements may succeed now.
* duplicate: The row is there already.
* unstorable: The database cannot take a value.
* refused: Anything else that Postgres says.
"""

_MEANINGS: tuple[tuple[Failure, tuple[type[Exception], ...]], ...] = (
    ("duplicate", (asyncpg.UniqueViolationError,)),
    (
        "unstorable",
        (
            asyncpg.DataError,
            asyncpg.IntegrityConstraintViolationError,
            asyncpg.ProgramLimitExceededError,
            UnicodeEncodeError,
        ),
    ),
    (
        "unmigrated",
        (
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedColumnError,
            asyncpg.UndefinedFunctionError,
            asyncpg.UndefinedObjectError,
        ),
    ),
    ("conflict", (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)),
    ("pooled", (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)),
    ("read_only", (asyncpg.ReadOnlySQLTransactionError,)),
    ("locked", (asyncpg.LockNotAvailableError,)),
    (
        "away",
        (
            OSError,
            TimeoutError,
            PoolTimeout,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,  # what asyncpg may raise when the server dies in the middle of an answer
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,  # too many connections, among others
            asyncpg.InvalidAuthorizationSpecificationError,  # the password has been changed, for us or by us
            asyncpg.InvalidCatalogNameError,
            asyncpg.ObjectNotInPrerequisiteStateError,  # something that is needed is in use
            asyncpg.InternalServerError,
            asyncpg.PostgresSystemError,
        ),
    ),
    ("refused", (asyncpg.PostgresError,)),
)

LockNotAvailable = asyncpg.LockNotAvailableError
"""A lock was not to be had within `lock_timeout`."""
CONNECTION_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)
"""What a statement raises on a connection that the server, restarted meanwhile, no longer knows."""
UNUSABLE_HOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What connecting raises where another host may serve instead."""


def failure_of(error: BaseException) -> Failure | None:
    """Return why a statement failed; None for what neither the driver nor the network raised."""
    cause: BaseException | None = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return "away"
        cause = error.orig.__cause__ if error.orig is not None else None
    for failure, classes in _MEANINGS:
        if isinstance(cause, classes):
            return failure
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise what keeps the database from its work as our own errors; the rest, which is a defect, goes on as it is.

    Raises:
        Unavailable: The database cannot be reached, is too busy, or has not been migrated.
        TransactionConflict: Another transaction got in the way.
    """
    try:
        yield
    except Exception as error:
        if (ours := _ours(error)) is None:
            raise
        raise ours from error


def _ours(error: Exception) -> Unavailable | None:
    if isinstance(error, PoolTimeout):
        return Unavailable("All database connections are in use.", retry_after_s=1)
    match failure_of(error):
        case "away" | "read_only" | "locked":
            return Unavailable("The database cannot be reached, or is too busy.", retry_after_s=5)
        case "pooled":
            return Unavailable(POOLED, retry_after_s=60)
        case "unmigrated":
            return Unavailable(NOT_MIGRATED, retry_after_s=5)
        case "conflict":
            return TransactionConflict("The database is too busy.", retry_after_s=1)
        case _:
            return None
