"""Start a session: the intent is committed first, then the provider is called, once, then the outcome is recorded."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
import structlog
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import (
    GatewayError,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    OutcomeUnknown,
    ProviderError,
    ProviderMisconfigured,
    ProviderNotConfigured,
    Unavailable,
)
from app.model import Deadline, Mdn, PeriodicPlan, TransactionId
from app.periodic.answers import Answer, Words
from app.periodic.background import Background, persistently
from app.periodic.parts import START_LIMIT_S, Parts
from app.provider import Tracker
from app.storage import aliases, claims, idempotency, session_views, sessions
from app.storage.idempotency import Key
from app.storage.rows import from_milliseconds, milliseconds, new_id
from app.storage.session_views import Counts, SessionView
from app.storage.tables import IdempotencyRow, SessionRow
from app.storage.writer import Writer

log = structlog.get_logger()

_RECORDING_S = 600
_ANSWER_AFTER_S = 5
_ACCEPTED = 202


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
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The provider has taken a session on."""

    transaction_id: TransactionId
    at: datetime


class Starting:
    """Starts sessions."""

    def __init__(self, parts: Parts, writer: Writer, background: Background) -> None:
        self._parts = parts
        self._writer = writer
        self._background = background

    async def start(self, plan: PeriodicPlan, *, key: Key | None, words: Words) -> Answer:
        """Start a session, or give the answer that the key's first request got.

        A caller who goes away does not stop it.

        Raises:
            IdempotencyKeyReused: The key's first request was another one.
            IdempotencyInProgress: The key's first request is still running.
            ProviderNotConfigured: Nobody reports periodically.
            GatewayError: Nothing was started, and the same request may succeed later, with the same key too.
        """
        provider, tracker = self._parts.tracking()
        if any(device.mdn is None for device in plan.devices):
            await self._writer.drained()
        intent = Intent(row=self._to_row(plan, provider.name), plan=plan, tracker=tracker, key=key, words=words)
        return await asyncio.shield(self._background.begin(self._start(intent)))

    def _to_row(self, plan: PeriodicPlan, provider: str) -> SessionRow:
        now = from_milliseconds(milliseconds(self._parts.now()))
        row = SessionRow(
            id=UUID(bytes=new_id(now).bytes),
            provider=provider,
            account=plan.account,
            state="requested",
            interval_s=plan.interval_s,
            count=plan.count,
            start_delay_s=plan.start_delay_s,
            max_age_s=plan.max_age_s,
            devices_total=len(plan.devices),
            created_at=now,
        )
        row.ends_at = sessions.planned_end(row, now)
        return row

    async def _start(self, intent: Intent) -> Answer:
        try:
            committed = await persistently(lambda: self._commit(intent), for_s=0)
        except Unavailable as error:
            # The commit may have come through although its confirmation did not: take it back when the database is.
            self._background.begin(self._record_patiently(intent, error))
            raise
        if isinstance(committed, IdempotencyRow):
            return await self._earlier(intent, committed)
        outcome = await self._call(intent, committed)
        recording = self._background.begin(self._record_patiently(intent, outcome))
        try:
            async with asyncio.timeout(_ANSWER_AFTER_S):
                answer = await asyncio.shield(recording)
        except (TimeoutError, Unavailable) as error:
            answer = self._answer_unrecorded(intent, outcome, error)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    async def _commit(self, intent: Intent) -> PeriodicPlan | IdempotencyRow:
        """Commit the intent and return the plan with all MDNs that are known, or what its key was used for before."""
        row, plan = intent.row, intent.plan
        async with self._parts.database.session() as db:
            if intent.key is not None:
                earlier = await idempotency.reserve(db, intent.key, row.id, row.created_at)
                if earlier is not None:
                    return earlier
            lacking = [device.id for device in plan.devices if device.mdn is None and device.id is not None]
            known = await aliases.mdns_of(db, lacking) if lacking else {}
            completed = tuple(
                replace(device, mdn=Mdn(known[device.id])) if device.mdn is None and device.id in known else device
                for device in plan.devices
            )
            await sessions.add(db, row, {device.id: device.mdn for device in completed if device.id})
            await aliases.learn(db, plan.devices, row.created_at)
        return replace(plan, devices=completed)

    async def _earlier(self, intent: Intent, earlier: IdempotencyRow) -> Answer:
        assert intent.key is not None
        if earlier.fingerprint != intent.key.fingerprint:
            raise IdempotencyKeyReused("Its first request had another body; use a new key for a new request.")
        if earlier.status is not None and earlier.answer is not None:
            session_id = earlier.session_id if earlier.status == _ACCEPTED else None
            return Answer(status=earlier.status, body=earlier.answer, session_id=session_id)
        assert earlier.session_id is not None
        clock = self._parts.clock()
        async with self._parts.database.session() as db:
            await sessions.advance(db, clock, [earlier.session_id])
            view = await session_views.view(db, earlier.session_id, clock)
        if view is None or view.row.state == "requested":
            raise IdempotencyInProgress("Ask again in a moment.", retry_after_s=1)
        return intent.words.accepted(view)

    async def _call(self, intent: Intent, plan: PeriodicPlan) -> Accepted | GatewayError:
        """Call the provider once; whatever is not clearly a reply leaves the outcome unknown."""
        try:
            async with asyncio.timeout(START_LIMIT_S + 2):
                transaction_id = await intent.tracker.start(plan, deadline=Deadline.after(START_LIMIT_S))
        except ProviderError as error:
            if isinstance(error, OutcomeUnknown) or not error.may_have_been_received:
                return error
            return _unknown(intent.row.provider)
        except GatewayError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- whatever went wrong, the provider may have been called
            log.error("start failed unexpectedly", error=type(error).__name__)
            return _unknown(intent.row.provider)
        return Accepted(transaction_id=transaction_id, at=self._parts.now())

    async def _record_patiently(self, intent: Intent, outcome: Accepted | GatewayError) -> Answer | GatewayError:
        return await persistently(lambda: self._record(intent, outcome), for_s=_RECORDING_S)

    async def _record(self, intent: Intent, outcome: Accepted | GatewayError) -> Answer | GatewayError:
        if isinstance(outcome, Accepted):
            return await self._record_accepted(intent, outcome)
        if isinstance(outcome, OutcomeUnknown):
            return await self._record_unknown(intent, outcome)
        return await self._record_refused(intent, outcome)

    async def _record_accepted(self, intent: Intent, accepted: Accepted) -> Answer:
        async with self._parts.database.session() as db:
            row = await sessions.locked(db, intent.row.id)
            if row is not None:
                sessions.begin(row, accepted.transaction_id, accepted.at)
                await sessions.belongs(db, row.id, accepted.transaction_id, "start")
        # Only now can reports be found that were committed while nobody knew their session.
        async with self._parts.database.session() as db:
            await claims.claim(db, [accepted.transaction_id])
            view = await self._view(db, intent)
            answer = intent.words.accepted(view)
            await self._keep(db, intent, answer)
        return answer

    async def _record_unknown(self, intent: Intent, error: OutcomeUnknown) -> Answer:
        problem = orjson.loads(intent.words.refused(error).body)
        async with self._parts.database.session() as db:
            await sessions.doubt(db, intent.row.id, problem)
            view = await self._view(db, intent)
        return intent.words.doubtful(error, view)

    async def _record_refused(self, intent: Intent, error: GatewayError) -> Answer | GatewayError:
        answer = intent.words.refused(error)
        async with self._parts.database.session() as db:
            await sessions.fail(db, intent.row.id, orjson.loads(answer.body), self._parts.now())
            if intent.key is not None and is_passing(error):
                await idempotency.free(db, intent.key, intent.row.id)
            else:
                await self._keep(db, intent, answer)
        return error if is_passing(error) else answer

    async def _keep(self, db: AsyncSession, intent: Intent, answer: Answer) -> None:
        if intent.key is not None:
            await idempotency.keep_answer(db, intent.key, intent.row.id, status=answer.status, body=answer.body)

    async def _view(self, db: AsyncSession, intent: Intent) -> SessionView:
        clock = self._parts.clock()
        await sessions.advance(db, clock, [intent.row.id])
        return await session_views.view(db, intent.row.id, clock) or SessionView(row=intent.row, counts=Counts())

    def _answer_unrecorded(
        self, intent: Intent, outcome: Accepted | GatewayError, cause: Exception
    ) -> Answer | GatewayError:
        """Tell what is known while the database is away; the recording goes on in the background."""
        log.warning("outcome of a start waits for the database", error=type(cause).__name__)
        view = SessionView(row=intent.row, counts=Counts())
        if isinstance(outcome, Accepted):
            sessions.begin(intent.row, outcome.transaction_id, outcome.at)
            return intent.words.accepted(view)
        if isinstance(outcome, OutcomeUnknown):
            intent.row.state = "unknown"
            return intent.words.doubtful(outcome, view)
        return outcome


def is_passing(error: GatewayError) -> bool:
    """Tell whether the same request may succeed later, so that its key has to stay usable."""
    return error.retryable or isinstance(error, ProviderMisconfigured | ProviderNotConfigured)


def _unknown(provider: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        "The provider may have started it, or not. Follow the session; its first callback makes it active.",
        provider=provider,
        may_have_been_received=True,
    )
