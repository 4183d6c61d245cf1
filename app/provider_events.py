"""Append an event when a provider is degraded, and when it has recovered."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from app.provider import Provider
from app.storage import provider_states
from app.storage.database import Database
from app.storage.events import NewEvent, append
from app.worker import Job

EVERY_S = 2
_DEGRADED = frozenset({"cooling_down", "paused"})
"""States in which the gateway leaves a provider alone; single failures are in the metrics."""
_HOLD = timedelta(seconds=3 * EVERY_S)
"""A provider has recovered once no replica has found it degraded for this time; a replica that died finds nothing."""


class ProviderEvents:
    """Tells each change once, in the transaction that notes it."""

    def __init__(
        self, database: Database, providers: Sequence[Provider], describe: Callable[[Provider], Mapping[str, Any]]
    ) -> None:
        """Wire it.

        Args:
            describe: Writes a provider as callers see it.
        """
        self._database = database
        self._providers = providers
        self._describe = describe

    def job(self) -> Job:
        """Return what every process does again and again."""
        return Job(name="provider events", every_s=EVERY_S, run=self.tell)

    async def tell(self, *, hold: timedelta = _HOLD) -> None:
        """Append what has changed since the last run, for any replica."""
        for provider in self._providers:
            state = provider.health().state
            if state in _DEGRADED or state == "ready":
                await self._tell(provider, is_degraded=state in _DEGRADED, hold=hold)

    async def _tell(self, provider: Provider, *, is_degraded: bool, hold: timedelta) -> None:
        async with self._database.transaction() as session:
            if is_degraded:
                type_, at = "provider.degraded", await provider_states.note_degraded(session, provider.name)
            else:
                recovered = provider_states.note_recovered(session, provider.name, unless_noted_for=hold)
                type_, at = "provider.recovered", await recovered
            if at is not None:
                subject, data = f"provider/{provider.name}", dict(self._describe(provider))
                await append(session, [NewEvent(type=type_, subject=subject, at=at, data=data)])
