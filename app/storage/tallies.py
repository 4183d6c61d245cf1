"""The running sums behind the counts of sessions.

A statement that changes devices of sessions appends the difference to `session_tallies`, in its own transaction and
without locking a row, so that ingest is never held up. A session's sums are those of all its rows, exact at any moment;
`fold` puts rows together, so that there are few.
"""

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, cast, func, select, text

from app.storage.database import Transaction
from app.storage.tables import SESSION_TALLIES, SessionRow

_FOLD_LOCK = 0x74616C6C696573
_SESSIONS_AT_A_TIME = 500
_CHANGED = text("SELECT DISTINCT session_id FROM session_tallies WHERE is_change LIMIT :most")
_FOLD = text("""
WITH gone AS (
    DELETE FROM session_tallies WHERE session_id = ANY (:sessions) RETURNING *
)
INSERT INTO session_tallies (
    session_id, stops_at, has_stopped, has_ended, came, devices, received, failed, is_change
)
SELECT session_id, stops_at, has_stopped, has_ended, came, sum(devices), sum(received), sum(failed), false
FROM gone GROUP BY session_id, stops_at, has_stopped, has_ended, came
HAVING sum(devices) <> 0 OR sum(received) <> 0 OR sum(failed) <> 0
""")

_OWN = SESSION_TALLIES.c.session_id == SessionRow.id
_GOES_ON = ~SESSION_TALLIES.c.has_stopped & ~SESSION_TALLIES.c.has_ended


async def fold(db: Transaction) -> int:
    """Put together the rows of sessions that have changed; return how many sessions there were.

    What is being appended meanwhile stays beside them. Where another process does it, nothing is done.
    """
    if not await db.scalar(select(func.pg_try_advisory_xact_lock(_FOLD_LOCK))):
        return 0
    sessions = list(await db.scalars(_CHANGED, {"most": _SESSIONS_AT_A_TIME}))
    if sessions:
        await db.execute(_FOLD, {"sessions": sessions})
    return len(sessions)


def summed(amount: ColumnElement[int]) -> ColumnElement[int]:
    """Express a sum over rows of tallies; nothing adds up to 0."""
    return func.coalesce(func.sum(cast(amount, BigInteger())), 0)


def devices(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """Express how many devices of a session there are that stand so."""
    return select(summed(SESSION_TALLIES.c.devices)).where(_OWN, *conditions).correlate(SessionRow).scalar_subquery()


def devices_going_on(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """Express how many devices of a session still report, by what the provider has said."""
    return devices(_GOES_ON, *conditions)
