"""Reading events by their ids, wherever they stand in the log."""

from collections.abc import Sequence
from uuid import UUID

from app.storage.database import Database
from app.storage.events.cursors import ORIGIN
from app.storage.events.log import OtherEvent, StoredEvent, records_of

_OTHERS = """
SELECT id, type, subject, at, account, session_id, data FROM events WHERE id = ANY ($1::uuid[])
"""


async def fetch(database: Database, ids: Sequence[UUID]) -> dict[UUID, StoredEvent]:
    """Read events; those that are no longer kept are left out, and their places are not known.

    Raises:
        Unavailable: The database cannot be reached.
    """
    found: dict[UUID, StoredEvent] = {
        key: StoredEvent(0, ORIGIN, "", record) for key, record in (await records_of(database, list(ids))).items()
    }
    others = [one for one in ids if one not in found]
    rows = await database.fetch_primary(_OTHERS, others) if others else []
    return found | {row["id"]: StoredEvent(0, ORIGIN, "", OtherEvent(*row.values())) for row in rows}
