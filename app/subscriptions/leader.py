"""Delivers the events of one subscription, in the one process that leads it.

The leader is a cursor over the log. What it has read is sent, and the cursor moves in the commit that keeps what has
become of it; so a crash repeats deliveries, and loses none.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from app.errors import CursorExpired, GatewayError
from app.observability import metrics
from app.storage.deliveries import DeliveryRecord
from app.storage.subscriptions import Progress, Subscription
from app.subscriptions.events import DeliverableEvent, EventLog
from app.subscriptions.messages import to_message
from app.subscriptions.outbox import BATCH_MARK, Outbox, Parcel, new_parcel, to_attempt
from app.subscriptions.receiver import Answer, Receiver
from app.subscriptions.schedule import Dice, is_hopeless, pause_after, retry_in
from app.subscriptions.signatures import signed

log = structlog.get_logger()

GONE = "the receiver answered 410: it wants no more deliveries"
HOPELESS = "no delivery has succeeded for five days"
MOST_OUTSTANDING = 2000
"""When this many deliveries are to be tried again, the log is read no further until some of them have succeeded."""
EARLIEST = "earliest"

_EVENTS_AT_ONCE = 100
_SENT_AT_ONCE = 16
_BATCHES_AT_ONCE = 4
_PATIENCE = timedelta(seconds=1)
"""A delivery that takes longer becomes a row before it is finished, so that the cursor goes on without it."""
_POLL_S = 1.0
_PAGES_A_TURN = 10
_PACE = timedelta(milliseconds=20)
"""How long events gather before the log is read once more, however many commits are announced."""
_SAVE_EVERY = timedelta(milliseconds=250)
"""While there is more to send, what has come of it is kept this often; a crash repeats as much."""
_CURSOR_ALONE_EVERY = timedelta(seconds=2)
_FAILED_TURN_S = 1.0


Secrets = Callable[[Subscription, datetime], Sequence[str]]
"""Opens the secrets that are to sign at an instant."""


class DeliveryStore(Protocol):
    """Where the leader of a subscription keeps how far it has come."""

    async def outstanding(self, limit: int) -> Sequence[DeliveryRecord]:
        """List what is to be tried again, in the order of the log."""
        ...

    async def save(
        self, progress: Progress, *, new: Sequence[DeliveryRecord], changed: Sequence[DeliveryRecord]
    ) -> bool:
        """Keep all of it in one commit; False, and nothing is kept, where another process leads by now."""
        ...

    async def disable(self, problem: str) -> None:
        """Disable the subscription, and say so by an event."""
        ...


class Leader:
    """Delivers the events of one subscription."""

    def __init__(
        self,
        subscription: Subscription,
        *,
        events: EventLog,
        receiver: Receiver,
        store: DeliveryStore,
        secrets: Secrets,
        now: Callable[[], datetime],
        is_leading: Callable[[], bool] = lambda: True,
        dice: Dice = random.random,
        most_outstanding: int = MOST_OUTSTANDING,
        pace: timedelta = _PACE,
    ) -> None:
        """Take over a subscription as it is kept; nothing is sent before the first turn.

        Args:
            is_leading: Tells whether the lease has not run out.
        """
        self._subscription = subscription
        self._revision = subscription.revision
        self._events = events
        self._receiver = receiver
        self._store = store
        self._secrets = secrets
        self._now = now
        self._is_leading = is_leading
        self._dice = dice
        self._most_outstanding = most_outstanding
        self._outbox = Outbox()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._pace = pace
        self._read_again_at = now()
        self._must_load = True
        self._has_more_rows = False
        self._may_have_events = True
        self._is_stopping = self._is_over = False
        self._problem: str | None = None
        self._read_up_to = self._kept_cursor = subscription.cursor
        self._saved_at = now()
        self._next_place = subscription.next_place
        self._held: list[DeliverableEvent] = []
        self._held_since: datetime | None = None
        self._failures = subscription.failures
        self._failing_since = subscription.failing_since
        self._slow_until = subscription.slow_until
        self._slowed_at: datetime | None = subscription.slow_until and now()
        self._pauses = 0
        self._last_success_at = subscription.last_success_at
        self._last_attempt = subscription.last_attempt
        self._is_changed = False
        self._at_once = 1 if self._failures else self._most_at_once

    @property
    def is_stopping(self) -> bool:
        """Whether no attempt is begun any more."""
        return self._is_stopping or self._problem is not None

    def update(self, subscription: Subscription) -> None:
        """Learn of a change of the subscription, and go on if it was stopped."""
        is_older = subscription.revision < self._revision
        if is_older or (subscription.revision == self._revision and (not self._is_stopping or self._problem)):
            return
        self._subscription, self._revision = subscription, subscription.revision
        self._problem, self._is_stopping, self._must_load = None, False, True
        if subscription.failures == 0:
            self._failures, self._failing_since, self._slow_until = 0, None, None
            self._at_once = self._most_at_once
        self._wake.set()

    def notify(self) -> None:
        """Learn that there may be new events."""
        self._may_have_events = True
        self._wake.set()

    def stop(self) -> None:
        """Begin no attempt any more; `run` ends when those under way have."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until it is stopped, or another process leads."""
        try:
            while self._is_leading():
                self._wake.clear()
                wait_s = await self._safe_turn()
                if self._is_over or (self.is_stopping and not self._tasks and not self._is_unkept):
                    return
                await self._sleep(wait_s)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def turn(self) -> float:
        """Send what is due, read what is new, and keep what has come of it; return when to come again, in seconds.

        Raises:
            GatewayError: The database is away; nothing is lost, the next turn goes on.
        """
        if self._must_load or (self._has_more_rows and len(self._outbox) < self._most_outstanding // 2):
            await self._load()
        self._launch()
        for _ in range(_PAGES_A_TURN):
            if not self._wants_more():
                break
            await self._read()
            self._form_batch()
            self._launch()
        self._form_batch()
        self._launch()
        await self._save()
        return 0.0 if self._wants_more() else self._idle_s()

    @property
    def _most_at_once(self) -> int:
        return _BATCHES_AT_ONCE if self._subscription.batch_events else _SENT_AT_ONCE

    @property
    def _is_unkept(self) -> bool:
        return self._is_changed or any(parcel.is_changed for parcel in self._outbox)

    async def _safe_turn(self) -> float:
        try:
            return await self.turn()
        except GatewayError as error:
            log.warning("deliveries wait", code=error.code)
            return _FAILED_TURN_S

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            self._may_have_events = True

    def _idle_s(self) -> float:
        """Return how long nothing is to be done, if nothing happens."""
        now, waits = self._now(), [_POLL_S]
        if self._slow_until is not None and self._slow_until > now:
            return min(_POLL_S, (self._slow_until - now).total_seconds())
        dues = [self._outbox.next_due(), self._held_since and self._held_since + self._delay]
        oldest = self._outbox.oldest_unsaved
        dues.append(oldest and oldest + _PATIENCE)
        dues.append(self._read_again_at if self._may_have_events else None)
        dues.append(self._saved_at + _SAVE_EVERY if self._is_unkept else None)
        waits += [(due - now).total_seconds() for due in dues if due is not None and due > now]
        return max(min(waits), 0.0)

    async def _load(self) -> None:
        rows = await self._store.outstanding(self._most_outstanding)
        self._outbox.load(rows, self._now())
        self._must_load, self._has_more_rows = False, len(rows) == self._most_outstanding

    def _wants_more(self) -> bool:
        now = self._now()
        if self.is_stopping or self._is_slow(now) or not self._may_have_events or self._has_more_rows:
            return False
        if len(self._outbox) >= self._most_outstanding or not self._is_leading() or now < self._read_again_at:
            return False
        if self._subscription.batch_events:
            return len(self._held) < self._subscription.batch_events
        return self._outbox.unsaved < self._at_once

    async def _read(self) -> None:
        batch, now = self._subscription.batch_events, self._now()
        # A receiver that is being tried gets one delivery.
        limit = batch - len(self._held) if batch else (1 if self._slow_until else _EVENTS_AT_ONCE)
        try:
            page = await self._events.read(self._subscription, self._read_up_to, limit)
        except CursorExpired:
            log.error("events were not delivered before their time was up", subscription=str(self._subscription.id))
            self._read_up_to = EARLIEST
            return
        self._read_up_to = page.next
        self._may_have_events = not page.is_last
        if page.is_last:
            self._read_again_at = now + max(self._pace, min(self._delay / 10, 10 * self._pace))
        if batch:
            self._held += page.events
            self._held_since = self._held_since or (now if page.events else None)
        if not self._held:
            self._outbox.add([self._parcel([event]) for event in page.events], page.next, now)

    @property
    def _delay(self) -> timedelta:
        return timedelta(seconds=self._subscription.batch_delay_s or 0)

    def _form_batch(self) -> None:
        """Make a batch of what is held, once it is large or old enough and the one before it is on its way.

        Events of devices that wait for an earlier delivery become one of their own, so that all others go on.
        """
        if not self._held or self._held_since is None or self._outbox.unsaved:
            return
        now, size = self._now(), self._subscription.batch_events or 0
        if len(self._held) < size and now - self._held_since < self._delay:
            return
        busy = self._outbox.busy_devices()
        groups = (
            [event for event in self._held if event.subject not in busy],
            [event for event in self._held if event.subject in busy],
        )
        self._outbox.add([self._parcel(group) for group in groups if group], self._read_up_to, now)
        self._held, self._held_since = [], None

    def _parcel(self, events: Sequence[DeliverableEvent]) -> Parcel:
        self._next_place += 1
        batched = self._subscription.batch_events is not None
        return new_parcel(self._subscription.id, self._next_place, events, self._now(), is_batch=batched)

    def _is_slow(self, now: datetime) -> bool:
        return self._slow_until is not None and now < self._slow_until

    def _launch(self) -> None:
        now = self._now()
        if self.is_stopping or self._is_slow(now) or not self._is_leading():
            return
        room = self._at_once - self._outbox.in_flight
        for parcel in self._outbox.ready(now, room) if room > 0 else ():
            parcel.is_sent = True
            task = asyncio.create_task(self._attempt(parcel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _attempt(self, parcel: Parcel) -> None:
        at = self._now()
        try:
            events = parcel.events or await self._fetch(parcel)
            if events:
                self._note(parcel, await self._post(parcel, events, at), at)
            else:
                parcel.attempts = [*parcel.attempts, to_attempt(_NOT_KEPT, at)]
                parcel.finish("dead")
        except Exception as error:  # noqa: BLE001 -- whatever it is, the delivery has to be tried again
            log.error("delivery waits", error=type(error).__name__)
            parcel.due_at = at + timedelta(seconds=_FAILED_TURN_S)
        finally:
            parcel.is_sent = False
            self._wake.set()

    async def _fetch(self, parcel: Parcel) -> list[DeliverableEvent]:
        found = await self._events.fetch(parcel.row.event_ids)
        return [found[one] for one in parcel.row.event_ids if one in found]

    async def _post(self, parcel: Parcel, events: Sequence[DeliverableEvent], at: datetime) -> Answer:
        message = to_message(events, is_batch=parcel.row.webhook_id.startswith(BATCH_MARK))
        secrets = self._secrets(self._subscription, at)
        if not secrets:
            return _NO_SECRET
        headers: Mapping[str, str] = {
            **signed(secrets, parcel.row.webhook_id, at, message.body),
            "Content-Type": message.media_type,
        }
        return await self._receiver.post(self._subscription.url, headers, message.body)

    def _note(self, parcel: Parcel, answer: Answer, at: datetime) -> None:
        """Note what came of an attempt, for the delivery and for the subscription."""
        parcel.note(answer, at, lambda failed: retry_in(failed, answer.retry_after_s, self._dice))
        self._last_attempt, self._is_changed = to_attempt(answer, at), True
        now = at + timedelta(milliseconds=answer.duration_ms)
        metrics.DELIVERIES.labels("delivered" if answer.is_delivered else "failed").inc()
        if answer.is_delivered:
            metrics.DELIVERED_EVENTS.inc(parcel.size)
            self._last_success_at = now
            self._recover(at, now)
            return
        self._failures += 1
        self._failing_since = self._failing_since or at
        self._slow_down(answer, at, now)
        if answer.is_gone:
            self._problem = GONE
        elif is_hopeless(self._failing_since, now):
            self._problem = HOPELESS

    def _slow_down(self, answer: Answer, at: datetime, now: datetime) -> None:
        """Note a failure; those that were under way together lead to one pause."""
        is_known = self._slowed_at is not None and at < self._slowed_at
        if is_known and answer.retry_after_s is None:
            return
        pause = pause_after(
            self._failures,
            self._pauses,
            is_busy=answer.is_busy,
            retry_after_s=answer.retry_after_s,
            dice=self._dice,
        )
        if pause is not None:
            self._slow_until = max(now + pause, self._slow_until or now)
            self._slowed_at, self._at_once = now, 1
            self._pauses += not is_known

    def _recover(self, at: datetime, now: datetime) -> None:
        """Note a success; one that was begun before the receiver asked for a pause does not end the pause."""
        if self._slow_until is not None:
            if self._slowed_at is not None and at < self._slowed_at:
                return
            self._outbox.hurry(now)
        self._failures, self._failing_since, self._slow_until, self._slowed_at = 0, None, None, None
        self._pauses = 0
        self._at_once = min(self._at_once * 2, self._most_at_once)

    async def _save(self) -> None:
        if self._problem is not None and not self._is_stopping:
            await self._store.disable(self._problem)
            # By a revision of its own, which is no news.
            self._is_stopping, self._revision = True, self._revision + 1
        now = self._now()
        unkept = self._outbox.to_save(now, timedelta() if self.is_stopping else _PATIENCE)
        is_due = now - self._saved_at >= _CURSOR_ALONE_EVERY or self.is_stopping
        has_moved = self._is_changed or unkept.cursor not in (None, self._kept_cursor)
        if not unkept.has_deliveries and not (is_due and has_moved):
            return
        is_at_work = (self._tasks or self._wants_more()) and not self.is_stopping
        if is_at_work and now - self._saved_at < _SAVE_EVERY:
            return
        progress, self._is_changed = self._progress(unkept.cursor or self._kept_cursor), False
        new, changed = [row for _, row, _ in unkept.new], [row for _, row, _ in unkept.changed]
        try:
            is_kept = await self._store.save(progress, new=new, changed=changed)
        except GatewayError:
            self._is_changed = True
            raise
        self._is_over = not is_kept
        self._outbox.saved(unkept)
        self._kept_cursor, self._saved_at = progress.cursor, now

    def _progress(self, cursor: str) -> Progress:
        return Progress(
            cursor=cursor,
            next_place=self._next_place,
            failures=self._failures,
            failing_since=self._failing_since,
            slow_until=self._slow_until,
            last_success_at=self._last_success_at,
            last_attempt=self._last_attempt,
        )


_NO_SECRET = Answer(
    status=None, duration_ms=0, error="the secret was sealed with another GATEWAY_ENCRYPTION_KEY; rotate it"
)
_NOT_KEPT = Answer(status=None, duration_ms=0, error="its events are no longer kept")
