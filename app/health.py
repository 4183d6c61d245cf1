"""Whether the gateway can do its work, and the figures that are looked up when the metrics are requested."""

import asyncio
import time
from collections.abc import Callable, Sequence

from app.errors import Unavailable
from app.observability import metrics
from app.provider import Provider
from app.storage import callbacks, session_views, subscriptions
from app.storage.database import Database, in_recovery
from app.storage.driver_errors import NOT_MIGRATED
from app.storage.migrate import is_current
from app.storage.sessions import SessionClock
from app.storage.writer import Writer

_LOOK_EVERY_S = 15
_LOOK_FOR_S = 5
_LONGEST_WAIT_S = 5.0


class Gauges:
    """Sets the gauges; the database is queried every 15 seconds at most, however often the metrics are requested."""

    def __init__(self, database: Database, providers: Sequence[Provider], clock: Callable[[], SessionClock]) -> None:
        """Watch a database and some providers; `clock` returns what the counts of sessions depend on."""
        self._database = database
        self._providers = providers
        self._clock = clock
        self._looked_at = -float("inf")

    async def measure(self) -> None:
        """Bring all gauges up to date; those of the database stay as they are while it is away."""
        await self.measure_process()
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        try:
            async with asyncio.timeout(_LOOK_FOR_S):
                await self._look()
        except (Unavailable, TimeoutError):
            metrics.DATABASE_UP.set(0)
        else:
            metrics.DATABASE_UP.set(1)

    async def measure_process(self) -> None:
        """Bring the gauges of this process up to date; a job, where another process may be asked for them."""
        in_use, size = self._database.connections_in_use()
        metrics.POOL_IN_USE.set(in_use)
        metrics.POOL_SIZE.set(size)
        for provider in self._providers:
            health = provider.health()
            metrics.PROVIDER_READY.labels(provider.name).set(health.state == "ready")
            if health.token_age_s is not None:
                metrics.TOKEN_AGE.labels(provider.name).set(health.token_age_s)

    async def _look(self) -> None:
        async with self._database.transaction() as session:
            states = await session_views.count_by_state(session)
            failed_stops = await session_views.failed_stops_of_open(session)
            missing = await session_views.missing_of_open(session, self._clock())
            quarantined = await callbacks.count_quarantined(session)
            subscribed = await subscriptions.count_by_state(session)
        for state in metrics.SESSION_STATES:
            metrics.SESSIONS.labels(state).set(states.get(state, 0))
        for state in metrics.SUBSCRIPTION_STATES:
            metrics.SUBSCRIPTIONS.labels(state).set(subscribed.get(state, 0))
        metrics.MISSING.set(missing)
        metrics.FAILED_STOPS.set(failed_stops)
        metrics.QUARANTINED.set(quarantined)


class Readiness:
    """Looks at the database and the writer, and knows whether the server is about to stop."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._is_stopping = False

    def stop(self) -> None:
        """Refuse new work from now on, because the server is about to stop."""
        self._is_stopping = True

    async def check(self) -> None:
        """Return if new work can be done.

        Raises:
            Unavailable: The process is stopping, or its database cannot be reached, takes no changes or lags behind.
        """
        if self._is_stopping:
            raise Unavailable("The gateway is stopping.", retry_after_s=5)
        if self._writer.oldest_wait_s() > _LONGEST_WAIT_S:
            raise Unavailable("Callbacks wait too long for the database to store them.", retry_after_s=5)
        async with self._database.transaction() as session:
            if await in_recovery(session):
                raise Unavailable("The database server is a standby.", retry_after_s=5)
            migrated = await is_current(await session.connection())
        if not migrated:
            raise Unavailable(NOT_MIGRATED)
