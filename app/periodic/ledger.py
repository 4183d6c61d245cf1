"""Record the outcome of a start, and render its answer."""

from dataclasses import dataclass
from datetime import datetime

import orjson

from app.errors import GatewayError, OutcomeUnknown, ProviderMisconfigured, ProviderNotConfigured
from app.model import PeriodicPlan, TransactionId
from app.periodic.answers import AnswerWriter, StoredAnswer
from app.periodic.background import persistently
from app.periodic.context import SessionContext
from app.provider import Tracker
from app.storage import aliases, claims, idempotency, session_views, sessions
from app.storage.database import Transaction
from app.storage.idempotency import Key
from app.storage.session_views import SessionView
from app.storage.tables import SessionRow

_RECORDING_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A start on its way.

    Attributes:
        row: The session as it was committed.
    """

    row: SessionRow
    plan: PeriodicPlan
    tracker: Tracker
    key: Key | None
    words: AnswerWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The provider has taken a session on."""

    transaction_id: TransactionId
    at: datetime


class SessionLedger:
    """Records outcomes, and keeps answers under their keys."""

    def __init__(self, parts: SessionContext) -> None:
        self._parts = parts

    async def record(self, intent: Intent, outcome: Accepted | GatewayError) -> StoredAnswer | GatewayError:
        """Record an outcome, however long the database is away, and return the caller's answer.

        An error is returned where nothing was started and the same request may succeed later.

        Raises:
            Unavailable: The database did not come back; the session becomes `unknown`, and its callbacks adopt it.
        """
        return await persistently(lambda: self._record(intent, outcome), for_s=_RECORDING_S)

    async def _record(self, intent: Intent, outcome: Accepted | GatewayError) -> StoredAnswer | GatewayError:
        if isinstance(outcome, Accepted):
            return await self._record_accepted(intent, outcome)
        if isinstance(outcome, OutcomeUnknown):
            return await self._record_unknown(intent, outcome)
        return await self._record_refused(intent, outcome)

    async def _record_accepted(self, intent: Intent, accepted: Accepted) -> StoredAnswer:
        async with self._parts.database.transaction() as db:
            row = await sessions.locked(db, intent.row.id)
            if row is not None:
                sessions.mark_active(row, accepted.transaction_id, accepted.at)
                await sessions.link_transaction(db, row.id, accepted.transaction_id, "start")
            await aliases.learn(db, intent.row.account, intent.plan.devices, accepted.at)
        # Reports that were committed before the session was known can be found only now.
        async with self._parts.database.transaction() as db:
            await claims.claim(db, [accepted.transaction_id])
            view = await self._view(db, intent)
            answer = intent.words.accepted(view)
            await self._keep(db, intent, answer)
        return answer

    async def _record_unknown(self, intent: Intent, error: OutcomeUnknown) -> StoredAnswer:
        problem = orjson.loads(intent.words.refused(error).body)
        async with self._parts.database.transaction() as db:
            await sessions.mark_unknown(db, intent.row.id, problem)
            view = await self._view(db, intent)
        return intent.words.doubtful(error, view)

    async def _record_refused(self, intent: Intent, error: GatewayError) -> StoredAnswer | GatewayError:
        answer = intent.words.refused(error)
        async with self._parts.database.transaction() as db:
            await sessions.mark_failed(db, intent.row.id, orjson.loads(answer.body), self._parts.now())
            if intent.key is not None and is_passing(error):
                await idempotency.free(db, intent.key, intent.row.id)
            else:
                await self._keep(db, intent, answer)
        return error if is_passing(error) else answer

    async def _keep(self, db: Transaction, intent: Intent, answer: StoredAnswer) -> None:
        if intent.key is not None:
            await idempotency.keep_answer(db, intent.key, intent.row.id, status=answer.status, body=answer.body)

    async def _view(self, db: Transaction, intent: Intent) -> SessionView:
        clock = self._parts.clock()
        await sessions.advance(db, clock, [intent.row.id])
        return await session_views.view(db, intent.row.id, clock) or SessionView.of(intent.row)


def is_passing(error: GatewayError) -> bool:
    """Return whether the same request may succeed later, so that its key has to stay usable."""
    return error.retryable or isinstance(error, ProviderMisconfigured | ProviderNotConfigured)
