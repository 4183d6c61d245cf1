"""Which subscriptions this process leads: a lease in the database for each, renewed every second.

A queue such as procrastinate or pgqueuer keeps a job for each thing to do, and hands jobs to any free worker. Here the
order of a device's events has to hold, and most of what happens is a success that needs no job; so one process leads a
subscription, and what is to be retried are rows that it reads by itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import structlog

from app.errors import GatewayError
from app.storage import subscriptions
from app.storage.database import Database
from app.storage.subscriptions import Subscription
from app.subscriptions.events import EventLog
from app.subscriptions.leader import Leader, Secrets
from app.subscriptions.receiver import Receiver
from app.subscriptions.store import LeaderStore, announce_disabled
from app.worker import Job

log = structlog.get_logger()

KEY_ENDED = "the API key that made it is revoked or has expired; resume it with another key"

_LEASE_S = 5.0
_RENEW_EVERY_S = 1.0
_LAST_ANSWERS_S = 3.0
_MARGIN_S = 1.0
"""This long before its lease ends, a leader begins nothing more."""


class Leases:
    """Takes subscriptions without a leader, and delivers their events while it holds them."""

    def __init__(self, database: Database, events: EventLog, receiver: Receiver, secrets: Secrets) -> None:
        self._database = database
        self._events = events
        self._receiver = receiver
        self._secrets = secrets
        self._process = uuid4()
        self._leaders: dict[UUID, tuple[Leader, asyncio.Task[None]]] = {}
        self._held_until = 0.0

    def jobs(self) -> list[Job]:
        """List what has to be done again and again."""
        return [Job(name="subscriptions", every_s=_RENEW_EVERY_S, run=self.renew)]

    def notify(self) -> None:
        """Notify the leaders that there may be new events."""
        for leader, _ in self._leaders.values():
            leader.notify()

    async def renew(self) -> None:
        """Prolong the leases of this process, take those that are free, and put down what is not to be led any more.

        Raises:
            Unavailable: The database cannot be reached; leases go on to their end.
        """
        began = time.monotonic()
        async with self._database.transaction() as db:
            ended = await subscriptions.disable_without_key(db, KEY_ENDED)
            await announce_disabled(db, ended, self._database.clock.now())
            led = await subscriptions.lead(db, self._process, _LEASE_S)
        self._held_until = began + _LEASE_S - _MARGIN_S
        await self._forget_ended()
        for one in led:
            known = self._leaders.get(one.id)
            if known is not None:
                known[0].update(one)
            else:
                self._begin(one)
        for left in self._leaders.keys() - {one.id for one in led}:
            self._leaders[left][0].stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let go of everything when the block ends, so that others can take over at once."""
        try:
            yield
        finally:
            leaders, self._leaders = self._leaders, {}
            await asyncio.gather(*(_end(leader, task) for leader, task in leaders.values()))
            try:
                async with self._database.transaction() as db:
                    await subscriptions.release(db, self._process, list(leaders))
            except GatewayError as error:
                log.warning("leases are left to run out", code=error.code)

    def _begin(self, subscription: Subscription) -> None:
        store = LeaderStore(self._database, subscription.id, self._process)
        leader = Leader(
            subscription,
            events=self._events,
            receiver=self._receiver,
            store=store,
            secrets=self._secrets,
            now=self._database.clock.now,
            is_leading=self._is_leading,
        )
        self._leaders[subscription.id] = (leader, asyncio.create_task(leader.run(), name="subscription"))

    def _is_leading(self) -> bool:
        return time.monotonic() < self._held_until

    async def _forget_ended(self) -> None:
        ended = [one for one, (_, task) in self._leaders.items() if task.done()]
        for one in ended:
            _, task = self._leaders.pop(one)
            if (error := task.exception()) is not None:
                log.error("delivering failed", subscription=str(one), error=type(error).__name__)


async def _end(leader: Leader, task: asyncio.Task[None]) -> None:
    """Wait a moment for the answers under way; what comes later is delivered again."""
    leader.stop()
    await asyncio.wait([task], timeout=_LAST_ANSWERS_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
