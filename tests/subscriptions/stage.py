"""A leader among stand-ins, with a clock that tests put forward: days of retries pass in milliseconds."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.ids import new_id, public_id
from app.storage.deliveries import DeliveryRecord
from app.storage.subscriptions import Progress, Subscription
from app.subscriptions.events import DeliverableEvent, LogStretch
from app.subscriptions.leader import Leader
from app.subscriptions.receiver import Answer
from app.subscriptions.signatures import new_secret

BEGIN = datetime(2026, 3, 2, 8, 15, tzinfo=UTC)
OK = Answer(status=200, duration_ms=3, text="fine")


def failing(status: int, *, retry_after_s: float | None = None) -> Answer:
    return Answer(status=status, duration_ms=3, text="no", retry_after_s=retry_after_s)


def subscription(**members: Any) -> Subscription:
    return Subscription(
        **{
            "id": UUID(bytes=new_id(BEGIN).bytes),
            "name": "a test's",
            "url": "https://receiver.example/",
            "types": [],
            "account": None,
            "devices": [],
            "transaction_id": None,
            "batch_events": None,
            "batch_delay_s": None,
            "key_id": "bootstrap",
            "api_key": None,
            "reach_accounts": None,
            "reach_devices": None,
            "state": "active",
            "problem": None,
            "revision": 0,
            "sealed_secret": b"",
            "former_sealed_secret": None,
            "former_until": None,
            "created_at": BEGIN,
            "cursor": "0",
            "next_place": 0,
            "failures": 0,
            "failing_since": None,
            "slow_until": None,
            "last_success_at": None,
            "last_attempt": None,
            **members,
        }
    )


class Stage:
    """The log, the receiver and the database of one leader.

    Attributes:
        answer: What the receiver answers to a delivery, by the subjects of its events.
        sent: What the receiver was sent: the names of the events in each delivery.
        rows: What is kept of deliveries.
        progress: What is kept of the subscription.
        commits: How often something was kept.
    """

    def __init__(self, **members: Any) -> None:
        self.now = BEGIN
        self.subscription = subscription(**members)
        self.events: list[DeliverableEvent] = []
        self.names: dict[UUID, str] = {}
        self.answer: Callable[[str], Answer] = lambda _: OK
        self.sent: list[str] = []
        self.ids: list[str] = []
        self.rows: dict[UUID, DeliveryRecord] = {}
        self.progress: Progress | None = None
        self.problem: str | None = None
        self.commits = 0
        self.is_led_by_another = False
        self.is_held: asyncio.Event | None = None
        self.leader = self.begin()

    def begin(self) -> Leader:
        """Begin anew, as after a crash: with nothing but what is kept."""
        kept = self.subscription
        if self.progress is not None:
            kept = replace(kept, **asdict(self.progress))
        self.leader = Leader(
            kept,
            events=self,
            receiver=self,
            store=self,
            secrets=lambda _subscription, _at: [_SECRET],
            now=lambda: self.now,
            dice=lambda: 0.5,
            most_outstanding=200,
            pace=timedelta(),
        )
        return self.leader

    def happen(self, *names: str) -> None:
        """Let events happen: `a1` is the first one of device `a`."""
        for name in names:
            event = DeliverableEvent(
                id=UUID(bytes=new_id(self.now).bytes), subject=name[0], at=self.now, body=f'"{name}"'.encode()
            )
            self.events.append(event)
            self.names[event.id] = name
        self.leader.notify()

    async def turn(self, *, seconds: float = 0) -> None:
        """Put the clock forward, and let the leader do everything that can be done then."""
        self.now += timedelta(seconds=seconds)
        for _ in range(10):
            self.leader.notify()
            await self.leader.turn()
            for _ in range(5):
                await asyncio.sleep(0)

    async def to_next(self) -> timedelta:
        """Put the clock forward to the next attempt, and return by how much."""
        began = self.now
        due = self.leader._outbox.next_due()
        slow = self.leader._slow_until
        ahead = [at for at in (due, slow) if at is not None and at > self.now]
        self.now = min(ahead, default=self.now)
        await self.turn()
        return self.now - began

    def states(self) -> dict[str, str]:
        """Tell what is kept of each delivery, by the names of its events."""
        return {"+".join(self.names[one] for one in row.event_ids): row.state for row in self.rows.values()}

    async def read(self, subscription: Subscription, cursor: str, limit: int) -> LogStretch:
        start = int(cursor)
        events = self.events[start : start + limit]
        end = start + len(events)
        return LogStretch(events=events, next=str(end), is_last=end == len(self.events))

    async def fetch(self, ids: Sequence[UUID]) -> Mapping[UUID, DeliverableEvent]:
        return {event.id: event for event in self.events if event.id in ids}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        names = body.decode().strip("[]").replace('"', "").replace(",", "+")
        self.sent.append(names)
        self.ids.append(headers["webhook-id"])
        if self.is_held is not None:
            await self.is_held.wait()
        return self.answer(names)

    async def outstanding(self, limit: int) -> Sequence[DeliveryRecord]:
        rows = sorted(self.rows.values(), key=lambda row: row.place)
        return [row for row in rows if row.state == "retrying"][:limit]

    async def save(
        self, progress: Progress, *, new: Sequence[DeliveryRecord], changed: Sequence[DeliveryRecord]
    ) -> bool:
        if self.is_led_by_another:
            return False
        assert not {row.id for row in new} & self.rows.keys()
        assert {row.id for row in changed} <= self.rows.keys()
        self.rows.update((row.id, row) for row in (*new, *changed))
        self.progress = progress
        self.commits += 1
        return True

    async def disable(self, problem: str) -> None:
        self.problem = problem


_SECRET = new_secret()


def ids_of(stage: Stage) -> list[str]:
    """List the `webhook-id`s of the events in the order of the log."""
    return [public_id(event.id) for event in stage.events]
