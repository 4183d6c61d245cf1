"""API keys: storing them, and notifying every process of a change immediately."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.caller import Caller, Reach
from app.identifiers import canonical_patterns
from app.ids import public_id
from app.storage.connections import Connection
from app.storage.notifications import notify
from app.storage.tables import KeyRow

CHANNEL = "gateway_keys"
"""The channel on which each change of a key is announced when it is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key as it is kept, without its digest; members are columns of `api_keys`, as `tables.KeyRow` describes them."""

    id: UUID
    name: str
    prefix: str
    scopes: Sequence[str]
    accounts: Sequence[str] | None
    devices: Sequence[str] | None
    rate_per_minute: int | None
    daily_fixes: int | None
    created_at: datetime
    rotated_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: KeyRow) -> "KeyRecord":
        """Copy a mapped row."""
        return cls(**{member.name: getattr(row, member.name) for member in fields(cls)})


_IN_USE = """
SELECT id, digest, scopes, accounts, devices, rate_per_minute, daily_fixes, expires_at FROM api_keys
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def every(connection: Connection) -> dict[bytes, tuple[Caller, datetime | None]]:
    """Read all keys that are in use, by digest, with their ends."""
    return {
        row["digest"]: (
            _to_caller(
                row["id"],
                scopes=row["scopes"],
                accounts=row["accounts"],
                devices=row["devices"],
                rate_per_minute=row["rate_per_minute"],
                daily_fixes=row["daily_fixes"],
            ),
            row["expires_at"],
        )
        for row in await connection.fetch(_IN_USE)
    }


async def holder(session: AsyncSession, digest: bytes) -> Caller | None:
    """Find the caller whose key has a digest; None when no key in use has it."""
    row = await session.scalar(
        select(KeyRow).where(
            KeyRow.digest == digest,
            KeyRow.revoked_at.is_(None),
            or_(KeyRow.expires_at.is_(None), KeyRow.expires_at > func.now()),
        )
    )
    if row is None:
        return None
    return _to_caller(
        row.id,
        scopes=row.scopes,
        accounts=row.accounts,
        devices=row.devices,
        rate_per_minute=row.rate_per_minute,
        daily_fixes=row.daily_fixes,
    )


def _to_caller(
    key: UUID,
    *,
    scopes: Sequence[str],
    accounts: Sequence[str] | None,
    devices: Sequence[str] | None,
    rate_per_minute: int | None,
    daily_fixes: int | None,
) -> Caller:
    return Caller(
        key_id=public_id(key),
        scopes=frozenset(scopes),
        reach=Reach(
            accounts=None if accounts is None else frozenset(accounts),
            devices=None if devices is None else canonical_patterns(devices),
        ),
        rate_per_minute=rate_per_minute,
        daily_fixes=daily_fixes,
    )


async def page(session: AsyncSession, *, before: UUID | None, limit: int) -> list[KeyRecord]:
    """List keys, newest first, revoked ones included."""
    query = select(KeyRow).order_by(KeyRow.id.desc()).limit(limit)
    rows = await session.scalars(query if before is None else query.where(KeyRow.id < before))
    return [KeyRecord.of(row) for row in rows]


async def add(session: AsyncSession, row: KeyRow) -> None:
    """Add a key."""
    session.add(row)
    await session.flush()


async def find(session: AsyncSession, key: UUID) -> KeyRow | None:
    """Fetch a key."""
    return await session.get(KeyRow, key)


async def locked(session: AsyncSession, key: UUID) -> KeyRow | None:
    """Fetch a key, and keep others from changing it until the transaction ends."""
    return await session.get(KeyRow, key, with_for_update=True, populate_existing=True)


async def announce(session: AsyncSession) -> None:
    """Notify all processes that keys have changed, once this transaction is committed."""
    await notify(session, CHANNEL)
