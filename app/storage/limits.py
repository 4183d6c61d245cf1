"""Limits of keys, counted in the database because all replicas share them: each count is one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

MINUTE_S = 60

# A minute begins with the first request after the previous one is over, so replicas need not agree on anything.
_COUNT_REQUEST = text(f"""
INSERT INTO key_minutes AS m (key_id, began_at, requests) VALUES (:key_id, now(), 1)
ON CONFLICT (key_id) DO UPDATE SET
    requests = CASE WHEN m.began_at <= now() - interval '{MINUTE_S} s' THEN 1 ELSE m.requests + 1 END,
    began_at = CASE WHEN m.began_at <= now() - interval '{MINUTE_S} s' THEN now() ELSE m.began_at END
RETURNING requests, extract(epoch FROM began_at - now())::float8 + {MINUTE_S} AS left_s
""")  # noqa: S608 -- our own constant

_TODAY = "(now() AT TIME ZONE 'UTC')::date"
_RESERVE = text(f"""
INSERT INTO key_days AS d (key_id, day, fixes)
SELECT :key_id, {_TODAY}, CAST(:fixes AS bigint) WHERE CAST(:fixes AS bigint) <= CAST(:limit AS bigint)
ON CONFLICT (key_id, day) DO UPDATE SET fixes = d.fixes + excluded.fixes
WHERE d.fixes + excluded.fixes <= CAST(:limit AS bigint)
RETURNING day
""")
_USED = text(f"""
SELECT
    coalesce((SELECT fixes FROM key_days WHERE key_id = :key_id AND day = {_TODAY}), 0) AS used,
    extract(epoch FROM ({_TODAY} + 1) - (now() AT TIME ZONE 'UTC'))::float8 AS left_s
""")  # noqa: S608 -- our own constant
_GIVE_BACK = text("UPDATE key_days SET fixes = greatest(0, fixes - :fixes) WHERE key_id = :key_id AND day = :day")
_FORGET = text(f"DELETE FROM key_days WHERE day < {_TODAY} - 40")  # noqa: S608 -- our own constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How much is used, and how many seconds it takes until the count begins anew."""

    used: int
    left_s: float


async def count_request(session: AsyncSession, key_id: str) -> Count:
    """Count a request; those beyond the limit are counted as well."""
    row = (await session.execute(_COUNT_REQUEST, {"key_id": key_id})).one()
    return Count(used=row.requests, left_s=min(MINUTE_S, max(0.0, row.left_s)))


async def reserve(session: AsyncSession, key_id: str, fixes: int, limit: int) -> date | None:
    """Count billed fixes, all or none; return the day that they are counted on, None when they are too many."""
    arguments = {"key_id": key_id, "fixes": fixes, "limit": limit}
    found: Sequence[Any] | None = (await session.execute(_RESERVE, arguments)).one_or_none()
    return None if found is None else found[0]


async def used_today(session: AsyncSession, key_id: str) -> Count:
    """Return how many billed fixes are counted today."""
    row = (await session.execute(_USED, {"key_id": key_id})).one()
    return Count(used=row.used, left_s=row.left_s)


async def give_back(session: AsyncSession, key_id: str, day: date, fixes: int) -> None:
    """Take back fixes that were counted and not billed."""
    await session.execute(_GIVE_BACK, {"key_id": key_id, "day": day, "fixes": fixes})


async def forget_old(session: AsyncSession) -> None:
    """Forget the counts of days that are long over."""
    await session.execute(_FORGET)
