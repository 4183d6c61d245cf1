"""Periodic location, as the routes and the worker use it."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from app.errors import NotFound
from app.model import AccountName, PeriodicPlan
from app.periodic.answers import Answer, Words
from app.periodic.background import Background
from app.periodic.claiming import Claiming
from app.periodic.parts import Parts, utc_now
from app.periodic.starting import Starting
from app.periodic.stopping import Stopped, Stopping
from app.provider import Provider
from app.settings import Settings
from app.storage import idempotency, session_views, sessions
from app.storage.database import Database
from app.storage.idempotency import Key
from app.storage.session_views import DeviceView, SessionView
from app.storage.writer import Writer
from app.worker import Job

_LAST_TASKS_S = 20
_NO_SESSION = "There is no session with this id or transaction id."


class Periodic:
    """Starts, shows and stops periodic sessions, and moves them along."""

    def __init__(
        self,
        providers: Sequence[Provider],
        database: Database,
        writer: Writer,
        settings: Settings,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Wire the use case.

        Args:
            providers: In the order of preference; the first configured one that can track is used.
            now: Tells the time; the states and counts of sessions follow it.
        """
        self._parts = Parts(providers=providers, database=database, grace_s=settings.report_grace_seconds, now=now)
        self._writer = writer
        self._background = Background(patience_s=_LAST_TASKS_S)
        self._claiming = Claiming(self._parts)
        self._starting = Starting(self._parts, writer, self._background)
        self._stopping = Stopping(self._parts, self._background, self._claiming)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Periodic"]:
        """Own the work that outlives its callers; on leaving, starts and stops under way are recorded first."""
        async with self._background.running():
            yield self

    def jobs(self) -> list[Job]:
        """List what has to be done again and again; it bears running in several processes."""
        return [
            Job(name="periodic claims", every_s=0.1, run=self._claiming.settle_noticed),
            Job(name="periodic states", every_s=3, run=self.advance),
            Job(name="periodic sweep", every_s=60, run=self._claiming.sweep),
            Job(name="idempotency keys", every_s=3600, run=self._forget_old_keys),
        ]

    def claim(self, transaction_ids: Iterable[str]) -> None:
        """Take note of stored reports that belong to no session; the writer's hook, returns at once."""
        self._claiming.notice(transaction_ids)

    def default_account(self) -> AccountName | None:
        """Name the account of those who name none.

        Raises:
            ProviderNotConfigured: Nobody reports periodically.
        """
        return self._parts.tracking()[0].default_account

    async def start(self, plan: PeriodicPlan, *, key: Key | None, words: Words) -> Answer:
        """Start a session; see `Starting.start`."""
        return await self._starting.start(plan, key=key, words=words)

    async def stop(self, reference: str, mdns: Sequence[str] = ()) -> Stopped:
        """Stop a session, or its devices with these MDNs; see `Stopping.stop`."""
        return await self._stopping.stop(await self.id_of(reference), mdns)

    async def id_of(self, reference: str) -> UUID:
        """Find a session by its id or a transaction id of its own.

        Raises:
            NotFound: There is none.
        """
        async with self._parts.database.session() as db:
            key = await sessions.id_of(db, reference)
        if key is None:
            raise NotFound(_NO_SESSION)
        return key

    async def show(self, reference: str) -> SessionView:
        """Show a session as it stands now.

        Raises:
            NotFound: There is none.
        """
        await self._writer.drained()
        clock = self._parts.clock()
        async with self._parts.database.session() as db:
            key = await sessions.id_of(db, reference)
            view = None
            if key is not None:
                await sessions.advance(db, clock, [key])
                view = await session_views.view(db, key, clock)
        if view is None:
            raise NotFound(_NO_SESSION)
        return view

    async def page(
        self, *, state: str | None, account: str | None, before: UUID | None, limit: int
    ) -> list[SessionView]:
        """Show sessions, newest first."""
        await self._writer.drained()
        clock = self._parts.clock()
        async with self._parts.database.session() as db:
            await sessions.advance(db, clock)
            return await session_views.page(db, clock, state=state, account=account, before=before, limit=limit)

    async def devices(self, reference: str, *, after: str | None, limit: int) -> list[DeviceView]:
        """Show the devices of a session, in the order of their IMEIs.

        Raises:
            NotFound: There is no such session.
        """
        await self._writer.drained()
        clock = self._parts.clock()
        async with self._parts.database.session() as db:
            key = await sessions.id_of(db, reference)
            if key is None:
                raise NotFound(_NO_SESSION)
            await sessions.advance(db, clock, [key])
            return await session_views.devices(db, key, clock, after=after, limit=limit)

    async def advance(self) -> None:
        """Move all sessions on as their reports and the clock say."""
        async with self._parts.database.session() as db:
            await sessions.advance(db, self._parts.clock())

    async def _forget_old_keys(self) -> None:
        async with self._parts.database.session() as db:
            await idempotency.forget_old(db, self._parts.now())
