"""What the parts of the use case share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.errors import ProviderNotConfigured
from app.provider import Provider, Tracker
from app.storage.database import Database
from app.storage.sessions import SessionClock

START_LIMIT_S = 30
"""How long the call that starts a session may take, logins and repetitions included."""

CALL_LIMIT = timedelta(seconds=START_LIMIT_S + 10)
"""After this time no process can still be waiting for the provider's reply to a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """Providers, database and clock.

    Attributes:
        grace_s: How late a report may be before it counts as missing, at least.
        now: Returns the time.
    """

    providers: Sequence[Provider]
    database: Database
    grace_s: int
    now: Callable[[], datetime]

    def clock(self) -> SessionClock:
        """Return what states and counts depend on, as of now."""
        return SessionClock(now=self.now(), grace_s=self.grace_s, call_limit=CALL_LIMIT)

    def tracking(self) -> tuple[Provider, Tracker]:
        """Choose the provider that reports periodically: the first one that can and is configured.

        Raises:
            ProviderNotConfigured: There is none.
        """
        able = [(provider, provider.tracker) for provider in self.providers if provider.tracker is not None]
        for provider, tracker in able:
            if provider.configured:
                return provider, tracker
        raise ProviderNotConfigured(
            "No provider of periodic location is configured; see /providers.", provider=able[0][0].name if able else ""
        )

    def tracker_name(self) -> str | None:
        """Name the provider that reports periodically; None if there is none."""
        try:
            return self.tracking()[0].name
        except ProviderNotConfigured:
            return None

    def tracker_of(self, name: str) -> Tracker:
        """Find the tracker that a session was started with.

        Raises:
            ProviderNotConfigured: It is not configured any more.
        """
        for provider in self.providers:
            if provider.name == name and provider.tracker is not None and provider.configured:
                return provider.tracker
        raise ProviderNotConfigured("The provider of this session is not configured; see /providers.", provider=name)
