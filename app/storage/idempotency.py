"""Requests under an Idempotency-Key, and their answers; a key is kept for a day by the database's clock."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.tables import IdempotencyRow

KEPT_FOR = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A caller's key and the request that it was sent with.

    Attributes:
        owner: The caller; keys of different callers are independent.
        fingerprint: Tells one request from another.
    """

    owner: str
    text: str
    fingerprint: bytes


async def reserve(db: AsyncSession, key: Key, session_id: UUID) -> IdempotencyRow | None:
    """Take a key for a new session; return the row of the request that has it already.

    If another transaction is taking the same key, this waits for it to commit.
    """
    values = {"fingerprint": key.fingerprint, "created_at": func.now(), "session_id": session_id}
    taken = await db.scalar(
        insert(IdempotencyRow)
        .values(owner=key.owner, key=key.text, **values)
        .on_conflict_do_update(
            index_elements=[IdempotencyRow.owner, IdempotencyRow.key],
            set_={**values, "status": None, "answer": None},
            where=IdempotencyRow.created_at < func.now() - KEPT_FOR,
        )
        .returning(IdempotencyRow.session_id)
    )
    if taken is not None:
        return None
    return await db.get(IdempotencyRow, (key.owner, key.text), populate_existing=True)


async def keep_answer(db: AsyncSession, key: Key, session_id: UUID, *, status: int, body: bytes) -> None:
    """Keep the answer, to be given again."""
    await db.execute(
        update(IdempotencyRow)
        .where(IdempotencyRow.owner == key.owner, IdempotencyRow.key == key.text)
        .where(IdempotencyRow.session_id == session_id)
        .values(status=status, answer=body)
    )


async def free(db: AsyncSession, key: Key, session_id: UUID) -> None:
    """Let a key be used again, because nothing was begun under it."""
    await db.execute(
        delete(IdempotencyRow)
        .where(IdempotencyRow.owner == key.owner, IdempotencyRow.key == key.text)
        .where(IdempotencyRow.session_id == session_id)
    )


async def forget_old(db: AsyncSession) -> None:
    """Forget keys that are older than a day."""
    await db.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < func.now() - KEPT_FOR))
