"""A provider that starts and stops whatever it is told to, and remembers what it was told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from app.model import AccountName, Deadline, Mdn, PeriodicPlan, ProviderName, TransactionId
from app.provider import Provider

ACCOUNT = AccountName("0844559123-00001")
NAME = ProviderName("thingspace")


class StubTracker:
    """Keeps the protocol of a tracker.

    Attributes:
        starts: The plans that came.
        stops: The MDNs of each stop call.
        on_start: What to do instead of starting at once.
        stop_called: Set by the first stop call.
        refusals: Raised instead of stopping, for calls that contain the MDN.
    """

    stop_limit = 100

    def __init__(self) -> None:
        self.starts: list[PeriodicPlan] = []
        self.stops: list[tuple[Mdn, ...]] = []
        self.on_start: Callable[[PeriodicPlan], Awaitable[TransactionId]] | None = None
        self.refusals: dict[str, Exception] = {}
        self.stop_called = asyncio.Event()
        self.stopping_now = 0
        self.most_stopping = 0

    async def start(self, plan: PeriodicPlan, *, deadline: Deadline) -> TransactionId:
        self.starts.append(plan)
        if self.on_start is not None:
            return await self.on_start(plan)
        return TransactionId(f"start-{len(self.starts)}")

    async def stop(
        self, account: AccountName, transaction_id: TransactionId, mdns: Sequence[Mdn], *, deadline: Deadline
    ) -> TransactionId:
        self.stops.append(tuple(mdns))
        self.stop_called.set()
        number = len(self.stops)
        self.stopping_now += 1
        self.most_stopping = max(self.most_stopping, self.stopping_now)
        await asyncio.sleep(0)
        self.stopping_now -= 1
        for mdn in mdns:
            if mdn in self.refusals:
                raise self.refusals[mdn]
        return TransactionId(f"stop-{number}")

    def refuse_start(self, error: Exception) -> None:
        async def refuse(plan: PeriodicPlan) -> TransactionId:
            raise error

        self.on_start = refuse


def provider_with(
    tracker: StubTracker | None, *, configured: bool = True, account: AccountName | None = ACCOUNT
) -> Provider:
    """Make a provider that can do nothing but track."""
    return Provider(name=NAME, configured=configured, tracker=tracker, default_account=account)


class HandClock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **amount: float) -> None:
        self.at += timedelta(**amount)
