"""What the driver raises becomes our own errors, in one place."""

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.errors import NotFound, TransactionConflict, Unavailable
from app.storage.database import Database
from app.storage.driver_errors import Failure, failure_of, translated


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConnectionRefusedError(), "away"),
        (TimeoutError(), "away"),
        (asyncpg.TooManyConnectionsError(), "away"),
        (asyncpg.LockNotAvailableError(), "locked"),
        (asyncpg.InvalidPasswordError(), "away"),
        (asyncpg.ReadOnlySQLTransactionError(), "read_only"),
        (asyncpg.UndefinedColumnError(), "unmigrated"),
        (asyncpg.DeadlockDetectedError(), "conflict"),
        (asyncpg.UniqueViolationError(), "duplicate"),
        (asyncpg.CharacterNotInRepertoireError(), "unstorable"),
        (UnicodeEncodeError("utf-8", "", 0, 1, "a surrogate"), "unstorable"),
        (asyncpg.InsufficientPrivilegeError(), "refused"),
        (LookupError(), None),
    ],
)
def test_each_error_has_one_meaning(error: Exception, failure: Failure | None) -> None:
    assert failure_of(error) == failure


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (ConnectionResetError(), Unavailable),
        (asyncpg.UndefinedTableError(), Unavailable),
        (asyncpg.SerializationError(), TransactionConflict),
    ],
)
def test_what_keeps_the_database_from_its_work_can_be_tried_again(raised: Exception, ours: type[Unavailable]) -> None:
    with pytest.raises(ours) as caught, translated():
        raise raised

    assert caught.value.retryable


@pytest.mark.parametrize("raised", [asyncpg.DivisionByZeroError(), NotFound(), ValueError()])
def test_everything_else_goes_on_as_it_is(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, translated():
        raise raised

    assert caught.value is raised


async def test_the_meaning_is_found_under_what_the_engine_makes_of_it(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.transaction() as db:
            await db.execute(text("SELECT 1 / 0"))
    assert failure_of(caught.value) == "unstorable"

    with pytest.raises(Unavailable, match="migrated"):
        async with database.transaction() as db:
            await db.execute(text("SELECT * FROM unheard_of"))
