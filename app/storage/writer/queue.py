"""The queue in front of the database: batches form while others are stored."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from app.errors import Overloaded, Unavailable
from app.observability import metrics
from app.observability.tracing import Commit, Recorder, Trace
from app.storage.connections import Connection
from app.storage.pending import PendingWrites
from app.storage.writer.aliases import KnownDevices
from app.storage.writer.entries import AliasPair, Batch, CommitListener, Entry, Stored
from app.storage.writer.storing import REPETITIONS_EXPECTED_S, Store

log = structlog.get_logger()

_PROBE_EVERY_S = 0.25
"""How often to look for a database that is away: a restart takes seconds, a look one attempt to connect."""
_STORES = 2
"""The first connection stores every batch; the second one only those that must not wait for the first."""
_SMALLEST_HALF = 24
"""The smallest half-batch: a statement by itself costs the database as much as ten more entries in it do."""
_PEAK_DECAY = 0.99
"""How much of the peak remains with each batch: a burst is forgotten after some hundred batches, about a second, while
the pause between two waves of the same senders makes no difference."""
_WORTH_STORING = (3, 4)
"""The part of a half-batch that is stored without waiting for the rest: three quarters, because the two groups of
senders are never exactly equal."""
_SLOW_FLUSH_S = 0.001
"""Flushes this slow leave the database idle for so long that a second batch beside it pays for its statement."""
_STUCK_S = 0.5
"""A batch that takes this long waits for something that need not concern the others: a lock, or a lost connection."""


class Writer:
    """Stores entries in shared commits.

    Senders that wait for an answer before they send again form two groups: while the database stores the batch of one,
    this process answers and reads the other. Storing everything in one batch would leave process and database idle in
    turn. Where flushes are slow, the second batch is stored meanwhile over a second connection; where they are fast,
    that would only make both batches finish, and leave the database idle, at the same time.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        pending: PendingWrites | None = None,
        unclaimed: Callable[[list[str]], None] = lambda _: None,
        stored: Callable[[], None] = lambda: None,
        bound: int = 20_000,
        batch_limit: int = 512,
        patience_s: float = 3.0,
        statement_timeout_s: float = 30.0,
        repetitions_expected_s: float = REPETITIONS_EXPECTED_S,
        slow_flush_s: float = _SLOW_FLUSH_S,
        stuck_s: float = _STUCK_S,
        recorder: Recorder | None = None,
    ) -> None:
        """Make a writer with connections of its own.

        Args:
            connect: Opens a connection; called again after each loss.
            pending: Where readers see what is not committed yet: `Database.pending`.
            unclaimed: Called after a commit with the transaction ids that belong to no known session.
            stored: Called after each commit of new reports.
            bound: How many entries may wait; more are refused.
            batch_limit: How many entries may share a commit.
            patience_s: How long entries are held while the database restarts, before they fail.
            statement_timeout_s: How long a statement may take before it counts as lost.
            repetitions_expected_s: See `Store`.
            slow_flush_s: From here on flushes are slow, and a second batch is stored meanwhile.
            stuck_s: From here on a batch is stuck, and the next one is stored meanwhile.
            recorder: Records a span for each commit; None records nothing.
        """
        self._pending = pending or PendingWrites()
        self._bound = bound
        self._batch_limit = batch_limit
        self._recorder = recorder
        self._known_devices = KnownDevices()
        self._stores = [
            Store(
                connect,
                self._known_devices,
                unclaimed=unclaimed,
                stored=stored,
                patience_s=patience_s,
                statement_timeout_s=statement_timeout_s,
                repetitions_expected_s=repetitions_expected_s,
            )
            for _ in range(_STORES)
        ]
        self._slow_flush_s = slow_flush_s
        self._stuck_s = stuck_s
        self._at_work = 0
        self._begun_at = 0.0
        self._open: dict[Batch, None] = {}
        self._waiting: deque[Batch] = deque()
        self._queued = 0
        self._peak = 0.0
        self._follow_peak()
        self._wake = asyncio.Event()
        metrics.QUEUE_BOUND.set(bound)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Writer"]:
        """Run the background tasks; on leaving, store everything accepted first."""
        tasks = [asyncio.create_task(self._run(store), name="writer") for store in self._stores]
        try:
            yield self
        finally:
            with contextlib.suppress(Unavailable):
                await self._pending.settled()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for batch in list(self._open):
                self._fail(batch, Unavailable("The gateway is stopping.", retry_after_s=5))
            for store in self._stores:
                store.drop()

    def submit(self, entry: Entry, trace: Trace | None = None, listener: CommitListener | None = None) -> Stored:
        """Queue an entry; the returned future, shared with its neighbours, is done when it is committed.

        The future raises `Unavailable` if the entry is not known to be stored, and `Unstorable` if the database cannot
        take an entry that has no callback to keep in quarantine instead.

        Args:
            trace: The trace that the entry belongs to, if that is not the current one.
            listener: Called when the future is done, too.

        Raises:
            Overloaded: Too many entries wait already.
            Unavailable: The database has been away for longer than the writer's patience.
        """
        if self._queued >= self._bound:
            raise Overloaded("Too many callbacks wait to be stored.", retry_after_s=2)
        for store in self._stores:
            # Every entry passes here, and the first condition costs less than the second.
            if store.away_since is not None and store.is_given_up:
                raise Unavailable("The database cannot be reached.", retry_after_s=5)
        batch = self._waiting[-1] if self._waiting else self._begin()
        if len(batch.entries) >= self._half and self._is_full(batch):
            batch = self._begin()
        batch.entries.append(entry)
        if listener is not None:
            batch.listeners.append(listener)
        if self._recorder is not None:
            batch.commit = batch.commit or Commit()
            batch.commit.join(trace)
        if len(batch.entries) == self._worth_storing:
            self._wake.set()
        self._queued += 1
        if self._queued > self._peak:  # noqa: PLR1730 -- a call for every entry would cost more
            self._peak = self._queued
        return batch.done

    def _begin(self) -> Batch:
        done = Stored()
        done.add_done_callback(_retrieved)
        batch = Batch(done)
        self._waiting.append(batch)
        self._open[batch] = None
        self._pending.add(done)
        self._wake.set()
        return batch

    def _is_full(self, batch: Batch) -> bool:
        self._follow_peak()
        return len(batch.entries) >= self._half

    def _follow_peak(self) -> None:
        """Make a half-batch half of the entries that have lately been here at the same time."""
        part, whole = _WORTH_STORING
        self._half = min(self._batch_limit, max(_SMALLEST_HALF, math.ceil(self._peak / 2)))
        self._worth_storing = self._half * part // whole

    def oldest_wait_s(self) -> float:
        """Return for how long the oldest entry that is not stored yet has waited, in seconds."""
        return max((time.perf_counter() - batch.begun_at for batch in self._open), default=0.0)

    def forget_aliases(self, pairs: Iterable[AliasPair] | None = None) -> None:
        """Forget that pairs, or all, are stored, so that they are stored again; the database is not touched."""
        if pairs is None:
            self._known_devices.clear()
        else:
            self._known_devices.forget(pairs)

    async def _run(self, store: Store) -> None:
        while True:
            if store.away_since is None:
                await self._wake.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROBE_EVERY_S):
                        await self._wake.wait()
                await store.probe()
            self._wake.clear()
            while self._waiting and self._is_turn_of(store):
                self._peak *= _PEAK_DECAY
                self._follow_peak()
                self._at_work += 1
                if store is self._stores[0]:
                    self._begun_at = time.perf_counter()
                try:
                    await self._store(store, self._waiting.popleft())
                finally:
                    self._at_work -= 1
                    if store is not self._stores[0]:
                        # The first one takes the next batch again, and may be waiting.
                        self._wake.set()

    def _is_turn_of(self, store: Store) -> bool:
        """Return whether a store takes the next batch: the first one, or the second one beside it.

        The second one does where flushes are slow, and where the batch at work is stuck.
        """
        first = self._stores[0]
        if not self._at_work:
            # Always the same connection: the caches of its server process are warm.
            return store is first
        if len(self._waiting[0].entries) < self._worth_storing or store.away_since is not None:
            return False
        return first.flush_s >= self._slow_flush_s or time.perf_counter() - self._begun_at >= self._stuck_s

    async def _store(self, store: Store, batch: Batch) -> None:
        if self._recorder is not None and batch.commit is not None:
            batch.commit.begin(self._recorder, len(batch.entries))
        started = time.perf_counter()
        try:
            await store.keep(batch.entries)
        except Unavailable as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the batches that follow must be stored
            store.drop()
            self._fail(batch, Unavailable("The database cannot store this now.", retry_after_s=5))
            log.error("batch failed", error=type(error).__name__)
        else:
            self._close(batch)
            batch.done.set_result(None)
            self._notify(batch)
            metrics.COMMIT_WAIT_SECONDS.observe(started - batch.begun_at)
            metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
            metrics.BATCH_SIZE.observe(len(batch.entries))

    def _fail(self, batch: Batch, error: Unavailable) -> None:
        self._close(batch, error)
        batch.done.set_exception(error)
        self._notify(batch, error)

    @staticmethod
    def _notify(batch: Batch, error: Unavailable | None = None) -> None:
        for listener in batch.listeners:
            try:
                if error is None:
                    listener.stored()
                else:
                    listener.not_stored(error)
            except Exception as mistake:  # noqa: BLE001 -- a mistake in one must not keep the others waiting
                log.error("commit listener failed", error=type(mistake).__name__)

    def _close(self, batch: Batch, error: Unavailable | None = None) -> None:
        if batch.commit is not None:
            batch.commit.end(error.code if error else None)
        del self._open[batch]
        self._pending.remove(batch.done)
        self._queued -= len(batch.entries)
        metrics.QUEUED.set(self._queued)


def _retrieved(done: asyncio.Future[None]) -> None:
    # Those that await it raise it; without them, asyncio must not warn that nobody did.
    done.exception()
