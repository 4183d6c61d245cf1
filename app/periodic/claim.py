"""Reports that came before their session was known: claimed by transaction id, or adopted by a session that fits."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from app.model import TransactionId
from app.periodic.background import persistently
from app.periodic.context import SessionContext
from app.periodic.unclaimed import UnclaimedTransactions
from app.storage import claims, sessions
from app.storage.claims import SessionCandidate, UnknownTransaction

log = structlog.get_logger()

_AT_ONCE = 1000
_PATIENCE_S = 5
_LATEST = timedelta(days=1)
_RECENT = timedelta(hours=1)


class SessionClaims:
    """Assigns reports to their sessions, after the writer has stored them without one."""

    def __init__(self, parts: SessionContext, unclaimed: UnclaimedTransactions) -> None:
        self._parts = parts
        self._unclaimed = unclaimed

    async def settle_unclaimed(self) -> None:
        """Wait until the writer has stored reports without a session, and settle their transactions."""
        transaction_ids = await self._unclaimed.take()
        try:
            for begin in range(0, len(transaction_ids), _AT_ONCE):
                await self.settle(transaction_ids[begin : begin + _AT_ONCE])
        except BaseException:
            self._unclaimed.note(transaction_ids)
            raise

    async def settle(self, transaction_ids: Sequence[str]) -> None:
        """Claim the reports of transactions whose session is known by now, and find sessions for the others.

        The starter of a session does the same after recording its transaction, so that a report is claimed whichever
        of the two commits last.
        """
        await self.claim(transaction_ids)
        adopted = await persistently(lambda: self._adopt(transaction_ids), for_s=_PATIENCE_S)
        if adopted:
            await self.claim(adopted)

    async def claim(self, transaction_ids: Sequence[str]) -> None:
        """Assign reports to the sessions that their transactions belong to."""

        async def once() -> None:
            async with self._parts.database.transaction() as db:
                await claims.claim(db, transaction_ids)

        await persistently(once, for_s=_PATIENCE_S)

    async def sweep(self) -> None:
        """Settle what a process that died had no time for, and what a clock that has been put back had ended."""
        now = self._parts.now()
        async with self._parts.database.transaction() as db:
            await sessions.advance(db, self._parts.clock(), is_thorough=True)
            recent = await sessions.recent_transactions(db, now - _RECENT)
            waiting = await claims.is_any_session_unknown(db)
            lingering = await claims.lingering(db, now - _LATEST) if waiting else []
        for begin in range(0, len(recent), _AT_ONCE):
            await self.claim(recent[begin : begin + _AT_ONCE])
        if lingering:
            await self.settle(lingering)

    async def _adopt(self, transaction_ids: Sequence[str]) -> list[str]:
        adopted = []
        async with self._parts.database.transaction() as db:
            await sessions.advance(db, self._parts.clock())
            if not await claims.is_any_session_unknown(db):
                return []
            await claims.lock_adoptions(db)
            for stranger in await claims.strangers(db, transaction_ids):
                fitting = await claims.candidates(db, stranger, _LATEST)
                chosen = choose(fitting, stranger, self._parts.now())
                transaction_id = TransactionId(stranger.transaction_id)
                if chosen is not None and await sessions.link_transaction(db, chosen.row.id, transaction_id, "start"):
                    sessions.mark_active(chosen.row, transaction_id, chosen.row.created_at)
                    await claims.claim(db, [transaction_id])
                    adopted.append(stranger.transaction_id)
        if adopted:
            log.info("sessions adopted by their callbacks", count=len(adopted))
        return adopted


def choose(fitting: Sequence[SessionCandidate], stranger: UnknownTransaction, now: datetime) -> SessionCandidate | None:
    """Choose the session that a transaction belongs to; None if the choice is ambiguous.

    * As long as one of them is still being started, its reply may name this very transaction: wait.
    * Sessions with the same plan and devices can stand for each other: the oldest takes it.
    * Otherwise wait for two intervals, in which a device may report that only one of them has. After that the one with
      the fewest devices takes it, and of those the one that lasts longest: a session that expects too much shows
      reports missing and can be stopped, one that expects too little would leave an endless transaction behind.
    """
    if not fitting or any(candidate.row.state == "requested" for candidate in fitting):
        return None
    if len({_plan(candidate) for candidate in fitting}) == 1:
        return fitting[0]
    evidence_until = stranger.first_at + 2 * timedelta(seconds=max(one.row.interval_s for one in fitting))
    return min(fitting, key=_rank) if now > evidence_until else None


def _plan(candidate: SessionCandidate) -> tuple[object, ...]:
    row = candidate.row
    return row.interval_s, row.count, row.start_delay_s, candidate.devices_digest


def _rank(candidate: SessionCandidate) -> tuple[float, ...]:
    row = candidate.row
    length_s = float("inf") if row.count is None else float(row.start_delay_s + row.count * row.interval_s)
    return row.devices_total, -length_s, row.created_at.timestamp()
