"""Start a session: the intent is committed first, then the provider is called, once, then the outcome is recorded."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import msgspec
import structlog

from app.caller import EVERYTHING, Reach
from app.directory import DeviceDirectory
from app.errors import (
    DeviceNotOwned,
    FieldError,
    GatewayError,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    MissingIdentifier,
    OutcomeUnknown,
    Overloaded,
    ProviderError,
    Unavailable,
)
from app.ids import from_milliseconds, milliseconds, new_id
from app.model import Deadline, Device, PeriodicPlan
from app.periodic.answers import AnswerWriter, StoredAnswer
from app.periodic.background import persistently
from app.periodic.context import START_LIMIT_S, SessionContext
from app.periodic.ledger import Accepted, Intent, SessionLedger
from app.provider import Provider
from app.storage import aliases, idempotency, session_views, sessions
from app.storage.idempotency import Key
from app.storage.session_views import SessionView
from app.storage.tables import IdempotencyRow, SessionRow
from app.storage.writer import AliasPair, Entry, Writer
from app.worker import Background

log = structlog.get_logger()

_ANSWER_AFTER_S = 3
_ACCEPTED = 202
_MOST_SHOWN = 100


class SessionStart:
    """Starts sessions."""

    def __init__(self, parts: SessionContext, writer: Writer, background: Background) -> None:
        self._parts = parts
        self._writer = writer
        self._background = background
        self._recording = SessionLedger(parts)
        self._directory = DeviceDirectory(parts.database)

    async def start(
        self, plan: PeriodicPlan, *, key: Key | None, words: AnswerWriter, reach: Reach = EVERYTHING
    ) -> StoredAnswer:
        """Start a session, or return the answer of the key's first request.

        A caller who goes away does not stop it. MDNs that are not given are completed as far as the caller's reach
        allows.

        Raises:
            IdempotencyKeyReused: The key's first request was another one.
            IdempotencyInProgress: The key's first request is still running.
            ProviderNotConfigured: No configured provider reports periodically.
            GatewayError: Nothing was started, and the same request may succeed later, with the same key too.
        """
        provider, tracker = self._parts.tracking()
        if any(device.mdn is None for device in plan.devices):
            plan = await self._completed(provider, plan, reach)
        intent = Intent(row=self._to_row(plan, provider.name), plan=plan, tracker=tracker, key=key, words=words)
        return await self._background.sheltered(self._start(intent))

    async def _completed(self, provider: Provider, plan: PeriodicPlan, reach: Reach) -> PeriodicPlan:
        """Take MDNs that are not given from the account's alias book, else from the provider's device list."""
        async with self._parts.database.reading() as db:
            devices = await aliases.completed(db, plan.account, plan.devices, reach)
        deadline = Deadline.after(START_LIMIT_S)
        devices = await self._directory.complete(provider, plan.account, devices, reach, deadline)
        return msgspec.structs.replace(plan, devices=tuple(devices))

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

    async def _start(self, intent: Intent) -> StoredAnswer:
        try:
            earlier = await persistently(lambda: self._commit(intent), for_s=0)
        except Unavailable as error:
            # The commit may have come through although its confirmation did not: take it back when the database is.
            self._background.begin(self._recording.record(intent, error))
            raise
        if earlier is not None:
            return await self._earlier(intent, earlier)
        outcome = await self._call(intent)
        self._forget_if_refused(intent.plan, outcome)
        recording = self._background.begin(self._record(intent, outcome))
        try:
            async with asyncio.timeout(_ANSWER_AFTER_S):
                answer = await asyncio.shield(recording)
        except (TimeoutError, Unavailable) as error:
            answer = self._answer_unrecorded(intent, outcome, error)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    async def _commit(self, intent: Intent) -> IdempotencyRow | None:
        """Commit the intent, or return what its key was used for before."""
        row, plan = intent.row, intent.plan
        async with self._parts.database.transaction() as db:
            if intent.key is not None:
                earlier = await idempotency.reserve(db, intent.key, row.id)
                if earlier is not None:
                    return earlier
            if plan.count is None:
                _refuse_unstoppable(plan.devices)
            await sessions.add(db, row, {device.id: device.mdn for device in plan.devices if device.id})
        return None

    async def _earlier(self, intent: Intent, earlier: IdempotencyRow) -> StoredAnswer:
        assert intent.key is not None
        if earlier.fingerprint != intent.key.fingerprint:
            raise IdempotencyKeyReused("Its first request had another body; use a new key for a new request.")
        if earlier.status is not None and earlier.answer is not None:
            session_id = earlier.session_id if earlier.status == _ACCEPTED else None
            return StoredAnswer(status=earlier.status, body=earlier.answer, session_id=session_id)
        assert earlier.session_id is not None
        clock = self._parts.clock()
        async with self._parts.database.transaction() as db:
            await sessions.advance(db, clock, [earlier.session_id])
            view = await session_views.view(db, earlier.session_id, clock)
        if view is None or view.row.state == "requested":
            raise IdempotencyInProgress("Ask again in a moment.", retry_after_s=1)
        return intent.words.accepted(view)

    async def _record(self, intent: Intent, outcome: Accepted | GatewayError) -> StoredAnswer | GatewayError:
        answer = await self._recording.record(intent, outcome)
        if isinstance(outcome, Accepted):
            # The recording has written pairs; callbacks that contradict them from now on are newer.
            account = intent.plan.account
            named = [(device.id, device.mdn) for device in intent.plan.devices]
            self._writer.forget_aliases(AliasPair(account, id_, mdn) for id_, mdn in named if id_ and mdn)
        return answer

    def _forget_if_refused(self, plan: PeriodicPlan, outcome: Accepted | GatewayError) -> None:
        """Forget the pair that the provider refuses; with several devices it is unknown which one is meant."""
        [device, *others] = plan.devices
        if isinstance(outcome, DeviceNotOwned) and not others and device.id and device.mdn:
            with suppress(Overloaded, Unavailable):
                self._writer.submit(Entry(refused=(AliasPair(plan.account, device.id, device.mdn),)))

    async def _call(self, intent: Intent) -> Accepted | GatewayError:
        """Call the provider once; anything but a clear reply leaves the outcome unknown."""
        try:
            async with asyncio.timeout(START_LIMIT_S + 2):
                transaction_id = await intent.tracker.start(intent.plan, deadline=Deadline.after(START_LIMIT_S))
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

    def _answer_unrecorded(
        self, intent: Intent, outcome: Accepted | GatewayError, cause: Exception
    ) -> StoredAnswer | GatewayError:
        """Return what is known while the database is away; the recording goes on in the background."""
        log.warning("outcome of a start waits for the database", error=type(cause).__name__)
        if isinstance(outcome, Accepted):
            sessions.mark_active(intent.row, outcome.transaction_id, outcome.at)
            return intent.words.accepted(SessionView.of(intent.row))
        if isinstance(outcome, OutcomeUnknown):
            intent.row.state = "unknown"
            return intent.words.doubtful(outcome, SessionView.of(intent.row))
        return outcome


def _refuse_unstoppable(devices: Sequence[Device]) -> None:
    """Refuse to start without an end what could not be stopped: ThingSpace stops devices by MDN (section 6.2)."""
    detail = "send the MDN: it is not known here, and without it the device could not be stopped"
    fields = tuple(
        FieldError(pointer=f"/devices/{index}/mdn", code="MISSING", detail=detail)
        for index, device in enumerate(devices)
        if device.mdn is None
    )
    if fields:
        raise MissingIdentifier("An unlimited session needs the MDN of every device.", errors=fields[:_MOST_SHOWN])


def _unknown(provider: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        "The provider may have started it, or not. Follow the session; its first callback makes it active.",
        provider=provider,
        may_have_been_received=True,
    )
