"""Append the events of sessions to the log of events."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from app.ids import public_id
from app.periodic.context import SessionContext
from app.storage import session_changes, session_views
from app.storage.database import Transaction
from app.storage.events import NewEvent, append
from app.storage.session_views import SessionView
from app.storage.sessions import ENDED, SessionClock
from app.storage.tables import SessionRow

Describe = Callable[[SessionView], Mapping[str, Any]]

_ENDED = "periodic.ended"

_Happened = tuple[str, datetime, dict[str, str]]


class SessionEvents:
    """Tells each change once, in the transaction that notes that it was told."""

    def __init__(self, parts: SessionContext, describe: Describe) -> None:
        """Wire it.

        Args:
            describe: Writes a session as callers see it.
        """
        self._parts = parts
        self._describe = describe

    async def tell(self) -> None:
        """Append what has happened since the last run."""
        clock = self._parts.clock()
        async with self._parts.database.transaction() as db:
            happened: list[tuple[SessionRow, _Happened]] = []
            for row in await session_changes.newly_overdue(db, clock):
                row.is_told_overdue = True
                happened.append((row, ("periodic.overdue", clock.now, {})))
            for row in await session_changes.caught_up(db, clock):
                row.is_told_overdue = False
                happened.append((row, ("periodic.caught-up", clock.now, {})))
            for row in await session_changes.in_untold_state(db):
                happened += [(row, one) for one in _changes(row, clock.now)]
                row.told_state = row.state
                row.is_told_overdue = row.is_told_overdue and row.state not in ENDED
            told = [await self._event(db, row, one, clock) for row, one in happened]
            # Events of one time are in the order in which they are appended; an end may follow at once.
            for are_ends in (False, True):
                await append(db, [event for event in told if (event.type == _ENDED) is are_ends])

    async def _event(self, db: Transaction, row: SessionRow, happened: _Happened, clock: SessionClock) -> NewEvent:
        type_, at, reason = happened
        view = await session_views.view(db, row.id, clock) or SessionView.of(row)
        return NewEvent(
            type=type_,
            subject=f"session/{public_id(row.id)}",
            at=at,
            data={**self._describe(view), **reason},
            account=row.account,
            session_id=row.id,
        )


def _changes(row: SessionRow, now: datetime) -> Iterator[_Happened]:
    """List what a session's state says that was not told yet; one may have begun and ended meanwhile."""
    if row.told_state is None and row.started_at is not None:
        yield "periodic.started", row.started_at, {}
    if row.state in ENDED:
        yield _ENDED, row.ended_at or now, {"reason": row.state}
