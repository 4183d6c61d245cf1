"""Which devices and sessions an event is about, where the alias books and the sessions have to be asked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.caller import Reach
from app.storage.database import Database
from app.storage.reports import statements

_MEMBERS = """
SELECT s.id, s.devices_total, s.transaction_id, d.device, d.mdn, EXISTS (
    SELECT FROM account_aliases AS a WHERE a.account = s.account AND a.device = d.device AND a.mdn = d.mdn
) AS is_vouched
FROM sessions AS s JOIN session_devices AS d ON d.session_id = s.id
WHERE s.id = ANY ($1::uuid[])
"""
_TRANSACTIONS = "SELECT transaction_id FROM session_transactions WHERE session_id = $1::uuid"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMembers:
    """The devices of a session.

    Attributes:
        transaction_id: The provider's id of the session.
        total: How many devices it began with; an erasure takes some away.
        devices: Identifiers, each with its MDN.
        vouched: Those of these pairs that the provider itself has stated.
    """

    transaction_id: str | None
    total: int
    devices: frozenset[tuple[str, str | None]]
    vouched: frozenset[tuple[str, str | None]]


async def members_of(database: Database, sessions: Collection[UUID]) -> dict[UUID, SessionMembers]:
    """Read the devices of some sessions; those that are no longer kept are left out."""
    if not sessions:
        return {}
    rows = await database.fetch_primary(_MEMBERS, list(sessions))
    found: dict[UUID, list[asyncpg.Record]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row)
    return {session: _to_members(devices) for session, devices in found.items()}


def _to_members(rows: Sequence[asyncpg.Record]) -> SessionMembers:
    return SessionMembers(
        transaction_id=rows[0]["transaction_id"],
        total=rows[0]["devices_total"],
        devices=frozenset((row["device"], row["mdn"]) for row in rows),
        vouched=frozenset((row["device"], row["mdn"]) for row in rows if row["is_vouched"]),
    )


async def keys_of_device(database: Database, device_id: str, reach: Reach) -> frozenset[str]:
    """Find the keys under which reports of an IMEI, MEID or ESN may stand, by the alias books within reach."""
    given = statements.Arguments()
    return await _keys(database, statements.keys_of_device(device_id, reach, given), given)


async def keys_of_mdn(database: Database, mdn: str, reach: Reach) -> frozenset[str]:
    """Find the keys under which reports of an MDN may stand, by the alias books within reach."""
    given = statements.Arguments()
    return await _keys(database, statements.keys_of_mdn(mdn, reach, given), given)


async def _keys(database: Database, statement: str, given: statements.Arguments) -> frozenset[str]:
    return frozenset(row["key"] for row in await database.fetch_primary(statement, *given))


async def transactions_of(database: Database, session_id: UUID) -> frozenset[str]:
    """Find the provider's transaction ids that belong to a session."""
    rows = await database.fetch_primary(_TRANSACTIONS, session_id)
    return frozenset(row["transaction_id"] for row in rows)
