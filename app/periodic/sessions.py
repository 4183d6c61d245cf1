"""Periodic location, as the routes and the worker use it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.access import Actor, AuditLog, meter_for
from app.access.permissions import check_plan
from app.caller import ANYONE, EVERYTHING, Caller, Reach
from app.errors import NotFound
from app.list_page import ListPage
from app.model import AccountName, PeriodicPlan
from app.periodic.answers import AnswerWriter, StoredAnswer, to_audited
from app.periodic.claim import SessionClaims
from app.periodic.context import SessionContext
from app.periodic.session_events import Describe, SessionEvents
from app.periodic.start import SessionStart
from app.periodic.stop import SessionStop, Stopped
from app.periodic.unclaimed import UnclaimedTransactions
from app.provider import Provider, metered
from app.settings import Settings
from app.storage import idempotency, session_views, sessions, tallies
from app.storage.audit import About
from app.storage.database import Database
from app.storage.idempotency import Key
from app.storage.rows import device_key
from app.storage.session_views import DeviceView, SessionView
from app.storage.sessions import SessionClock
from app.storage.writer import Writer
from app.worker import Background, Job

_LAST_TASKS_S = 20
_NO_SESSION = "There is no session with this id or transaction id."


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDevices:
    """A page of the devices of a session.

    Attributes:
        next: The last device, after which the next page begins; None on the last page.
    """

    devices: Sequence[DeviceView]
    next: str | None


class Periodic:
    """Starts, shows and stops periodic sessions, and moves them along."""

    def __init__(
        self,
        providers: Sequence[Provider],
        database: Database,
        writer: Writer,
        settings: Settings,
        *,
        unclaimed: UnclaimedTransactions | None = None,
        now: Callable[[], datetime] | None = None,
        describe: Describe | None = None,
    ) -> None:
        """Wire the use case.

        Args:
            providers: In the order of preference; the first configured one that can track is used.
            unclaimed: Where the writer notes transactions that belong to no known session.
            describe: Writes a session as callers see it, for events; without, none are told.
            now: Returns the time, by default the database's; the states and counts of sessions follow it.
        """
        self._parts = SessionContext(
            providers=providers, database=database, grace_s=settings.report_grace_seconds, now=now or database.clock.now
        )
        self._writer = writer
        self._audit = AuditLog(writer)
        self._background = Background(patience_s=_LAST_TASKS_S)
        self._claiming = SessionClaims(self._parts, unclaimed or UnclaimedTransactions())
        self._starting = SessionStart(self._parts, writer, self._background)
        self._events = None if describe is None else SessionEvents(self._parts, describe)
        self._stopping = SessionStop(self._parts, self._background, self._claiming)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Periodic"]:
        """Own the work that outlives its callers; on leaving, starts and stops under way are recorded first."""
        async with self._background.running():
            yield self

    def jobs(self) -> list[Job]:
        """List what has to be done again and again; it bears running in several processes."""
        return [
            Job(name="periodic claims", every_s=0.1, run=self._claiming.settle_unclaimed),
            Job(name="periodic states", every_s=3, run=self.advance),
            *([Job(name="periodic events", every_s=3, run=self._events.tell)] if self._events else []),
            Job(name="periodic sweep", every_s=60, run=self._claiming.sweep),
            Job(name="session tallies", every_s=5, run=self._fold_tallies),
            Job(name="idempotency keys", every_s=3600, run=self._forget_old_keys),
        ]

    def default_account(self) -> AccountName | None:
        """Name the account of those who name none.

        Raises:
            ProviderNotConfigured: No configured provider reports periodically.
        """
        return self._parts.tracking()[0].default_account

    async def start(
        self, plan: PeriodicPlan, *, key: Key | None, words: AnswerWriter, caller: Caller = ANYONE, request_id: str = ""
    ) -> StoredAnswer:
        """Start a session; see `SessionStart.start`. A caller who goes away does not stop it.

        Raises:
            PermissionDenied: The caller may not have these devices located, or not without an end.
        """
        work = self._start(plan, key, words, caller, request_id)
        return await self._background.sheltered(work)

    async def _start(
        self, plan: PeriodicPlan, key: Key | None, words: AnswerWriter, caller: Caller, request_id: str
    ) -> StoredAnswer:
        about: About = {
            "account": plan.account,
            "device": device_key(plan.devices[0]) if len(plan.devices) == 1 else None,
            "provider": self._parts.tracker_name(),
            "billed": False,
        }
        async with self._audit.deed(_actor(caller, request_id), "periodic.start", **about) as deed:
            check_plan(plan, caller)
            with metered(meter_for(caller, self._parts.database)):
                answer = await self._starting.start(plan, key=key, words=words, reach=caller.reach)
            deed.outcome, came_of_it = to_audited(answer)
            deed.about.update(came_of_it)
        return answer

    async def stop(
        self, reference: str, mdns: Sequence[str] = (), *, caller: Caller = ANYONE, request_id: str = ""
    ) -> Stopped:
        """Stop a session within the caller's reach, or its devices with these MDNs; see `SessionStop.stop`."""
        key = await self.id_of(reference, reach=caller.reach)
        return await self._background.sheltered(self._stop(key, mdns, caller, request_id))

    async def _stop(self, key: UUID, mdns: Sequence[str], caller: Caller, request_id: str) -> Stopped:
        async with self._audit.deed(_actor(caller, request_id), "periodic.stop", session_id=key.hex) as deed:
            stopped = await self._stopping.stop(key, mdns)
            if stopped.failures:
                deed.outcome = stopped.failures[0].error.code
        return stopped

    async def id_of(self, reference: str, *, reach: Reach = EVERYTHING) -> UUID:
        """Find a session by its id or a transaction id of its own.

        Raises:
            NotFound: There is none within reach.
        """
        async with self._parts.database.transaction() as db:
            key = await sessions.id_of(db, reference, reach)
        if key is None:
            raise NotFound(_NO_SESSION)
        return key

    async def show(self, reference: str, *, reach: Reach = EVERYTHING) -> SessionView:
        """Show a session as it stands now.

        Raises:
            NotFound: There is none.
        """
        clock = self._parts.clock()
        async with self._parts.database.transaction(after_writes=True) as db:
            key = await sessions.id_of(db, reference, reach)
            if key is None:
                raise NotFound(_NO_SESSION)
            await sessions.advance(db, clock, [key])
        view = await self._parts.database.read(lambda db: session_views.view(db, key, clock))
        if view is None:
            raise NotFound(_NO_SESSION)
        return view

    async def page(
        self, *, state: str | None, account: str | None, before: UUID | None, limit: int, reach: Reach = EVERYTHING
    ) -> ListPage[SessionView]:
        """Show sessions, newest first."""
        clock = self._parts.clock()
        async with self._parts.database.transaction(after_writes=True) as db:
            await sessions.advance(db, clock)
        found = await self._parts.database.read(
            lambda db: session_views.page(
                db, clock, state=state, account=account, before=before, limit=limit + 1, reach=reach
            )
        )
        return ListPage.of(found, limit)

    async def devices(
        self, reference: str, *, after: str | None, limit: int, caller: Caller = ANYONE, request_id: str = ""
    ) -> SessionDevices:
        """Show the devices of a session, in the order of their IMEIs.

        Raises:
            NotFound: There is no such session.
        """
        clock = self._parts.clock()
        async with self._parts.database.transaction(after_writes=True) as db:
            key = await sessions.id_of(db, reference, caller.reach)
            if key is None:
                raise NotFound(_NO_SESSION)
            await sessions.advance(db, clock, [key])
        found = await self._parts.database.read(
            lambda db: session_views.devices(db, key, clock, after=after, limit=limit + 1)
        )
        shown = found[:limit]
        self._record_shown(shown, _actor(caller, request_id))
        return SessionDevices(devices=shown, next=shown[-1].row.device if len(found) > limit else None)

    def _record_shown(self, shown: Sequence[DeviceView], by: Actor) -> None:
        """Leave an audit row about the last fixes that are shown; its devices are found by the session."""
        located = [view for view in shown if view.last is not None]
        if located:
            self._audit.record(
                by,
                "reports.read",
                "shown",
                account=located[0].last.account if located[0].last else None,
                device=located[0].row.device if len(located) == 1 else None,
                session_id=located[0].row.session_id.hex,
                subject=f"{len(located)} reports of {len(located)} devices",
            )

    def clock(self) -> SessionClock:
        """Return what states and counts depend on, as of now."""
        return self._parts.clock()

    async def advance(self) -> None:
        """Advance the states of all sessions by their reports and the clock."""
        async with self._parts.database.transaction() as db:
            await sessions.advance(db, self._parts.clock())

    async def _fold_tallies(self) -> None:
        async with self._parts.database.transaction() as db:
            await tallies.fold(db)

    async def _forget_old_keys(self) -> None:
        async with self._parts.database.transaction() as db:
            await idempotency.forget_old(db)


def _actor(caller: Caller, request_id: str) -> Actor:
    return Actor(key_id=caller.key_id, request_id=request_id)
