"""What has happened to sessions since it was last told: the log of events hears of each change once.

Whatever moves a session on need not think of events. A row says what was told of it, and a change is told by the
transaction that notes this in the row; of several replicas that see it, one gets the row.
"""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.storage.session_views import missing_of_session
from app.storage.sessions import SessionClock
from app.storage.tables import SessionRow

_MOST = 200
_RUNNING = ("active", "stopping")
_NOT_YET_BEGUN = ("requested", "unknown")


async def in_untold_state(db: AsyncSession) -> Sequence[SessionRow]:
    """Lock sessions whose state is another than the one that was told last."""
    changed = select(SessionRow).where(
        SessionRow.told_state.is_distinct_from(SessionRow.state), SessionRow.state.not_in(_NOT_YET_BEGUN)
    )
    return await _locked(db, changed)


async def newly_overdue(db: AsyncSession, clock: SessionClock) -> Sequence[SessionRow]:
    """Lock running sessions that lack reports, and of which this was not told."""
    changed = select(SessionRow).where(
        SessionRow.state.in_(_RUNNING), ~SessionRow.is_told_overdue, missing_of_session(clock) > 0
    )
    return await _locked(db, changed)


async def caught_up(db: AsyncSession, clock: SessionClock) -> Sequence[SessionRow]:
    """Lock sessions that were told to be overdue, and lack no reports any more."""
    return await _locked(db, select(SessionRow).where(SessionRow.is_told_overdue, missing_of_session(clock) == 0))


async def _locked(db: AsyncSession, wanted: Select[SessionRow]) -> Sequence[SessionRow]:
    rows = wanted.order_by(SessionRow.id).limit(_MOST).with_for_update(of=SessionRow, skip_locked=True)
    return (await db.scalars(rows.execution_options(populate_existing=True))).all()
