"""The queue in front of the database: batches that form while others are stored, and their release."""

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
from app.storage.writer.storing import Store

log = structlog.get_logger()

_PROBE_EVERY_S = 0.25
_STORES = 2
_SMALL = 24
"""Batches of this size are never divided: a statement costs the database as much as storing ten more entries."""
_FORGETTING = 0.99
"""How much of the most that were here at once still counts when the next batch begins."""
_SLOW_FLUSH_S = 0.001
"""From here on a batch that is being flushed leaves the database time for another one."""
_HANGS_S = 0.5
"""After so long a batch waits for something that need not concern the others: a lock, or a lost connection."""


class Writer:
    """Stores entries in shared commits.

    Senders who wait for an answer before they send again come in two halves: while the database works on one, this
    process answers and takes in the other. Were all that is there stored at once, both would take turns at being idle.
    Where the disk is slow, the other half is stored meanwhile over a second connection; elsewhere both would be done,
    and leave the database idle, at the same time.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        pending: PendingWrites | None = None,
        unclaimed: Callable[[list[str]], None] = lambda _: None,
        bound: int = 20_000,
        batch_limit: int = 512,
        patience_s: float = 3.0,
        statement_timeout_s: float = 30.0,
        recorder: Recorder | None = None,
    ) -> None:
        """Make a writer with connections of its own.

        Args:
            connect: Opens a connection; asked again after each loss.
            pending: What is not committed yet, as readers see it: `Database.pending`.
            unclaimed: Called after a commit with transaction ids that belong to no known session.
            bound: How many entries may wait; more are refused.
            batch_limit: How many entries share a commit at most.
            patience_s: How long entries are held while the database restarts, before they fail.
            statement_timeout_s: After so long a statement counts as lost.
            recorder: Makes a span of each commit; None: nobody does.
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
                patience_s=patience_s,
                statement_timeout_s=statement_timeout_s,
            )
            for _ in range(_STORES)
        ]
        self._at_work = 0
        self._begun_at = 0.0
        self._open: dict[Batch, None] = {}
        self._waiting: deque[Batch] = deque()
        self._queued = 0
        self._crowd = 0.0
        self._share = min(_SMALL, batch_limit)
        self._wake = asyncio.Event()
        metrics.QUEUE_BOUND.set(bound)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Writer"]:
        """Own the background tasks; on leaving, everything accepted is stored first."""
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

    def submit(self, entry: Entry, trace: Trace | None = None, waiting: CommitListener | None = None) -> Stored:
        """Queue an entry; the returned future, shared with its neighbours, is done when it is committed.

        The future raises `Unavailable` when the entry is not known to be stored, and `Unstorable` when that is due to
        an entry without a callback that could be kept in quarantine instead.

        Args:
            trace: The trace that the entry belongs to, where that is not the current one.
            waiting: Is told as well when the future is done.

        Raises:
            Overloaded: Too many entries wait already.
            Unavailable: The database has been away for longer than the writer's patience.
        """
        if self._queued >= self._bound:
            raise Overloaded("Too many callbacks wait to be stored.", retry_after_s=2)
        for store in self._stores:
            if store.is_given_up:
                raise Unavailable("The database cannot be reached.", retry_after_s=5)
        if not self._waiting or self._is_full(self._waiting[-1]):
            done = Stored()
            done.add_done_callback(_retrieved)
            begun = Batch(done)
            self._waiting.append(begun)
            self._open[begun] = None
            self._pending.add(done)
            self._wake.set()
        batch = self._waiting[-1]
        batch.entries.append(entry)
        if waiting is not None:
            batch.waiting.append(waiting)
        if self._recorder is not None:
            batch.commit = batch.commit or Commit()
            batch.commit.join(trace)
        if len(batch.entries) == self._worthwhile:
            self._wake.set()
        self._queued += 1
        self._crowd = max(self._crowd, self._queued)
        return batch.done

    def _is_full(self, batch: Batch) -> bool:
        if len(batch.entries) < self._share:
            return False
        self._share = self._half()
        return len(batch.entries) >= self._share

    def _half(self) -> int:
        """Halve the number of entries that have been here at once, of late."""
        return min(self._batch_limit, max(_SMALL, math.ceil(self._crowd / 2)))

    def oldest_wait_s(self) -> float:
        """Return for how long the oldest entry that is not stored yet has waited, in seconds."""
        return max((time.perf_counter() - batch.begun_at for batch in self._open), default=0.0)

    def forget_aliases(self, pairs: Iterable[AliasPair] | None = None) -> None:
        """Forget that pairs, or all, are written down, so that they are written again; the database is not touched."""
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
                self._crowd *= _FORGETTING
                self._share = self._half()
                self._at_work += 1
                if store is self._stores[0]:
                    self._begun_at = time.perf_counter()
                try:
                    await self._settle(store, self._waiting.popleft())
                finally:
                    self._at_work -= 1
                    if store is not self._stores[0]:
                        # It is the first one's turn again, which may have left it to this one.
                        self._wake.set()

    def _is_turn_of(self, store: Store) -> bool:
        """Tell whether a store takes the next batch: the first one, or beside it another one.

        Beside it where the disk is slow, and where the batch at work waits for who knows what.
        """
        first = self._stores[0]
        if not self._at_work:
            # Always the same connection, because its server process finds all it needs in the processor's caches.
            return store is first
        if len(self._waiting[0].entries) < self._worthwhile or store.away_since is not None:
            return False
        return first.flush_s >= _SLOW_FLUSH_S or time.perf_counter() - self._begun_at >= _HANGS_S

    @property
    def _worthwhile(self) -> int:
        # Not all of a half, because halves are never quite equal.
        return self._share * 3 // 4

    async def _settle(self, store: Store, batch: Batch) -> None:
        if self._recorder is not None and batch.commit is not None:
            batch.commit.begin(self._recorder, len(batch.entries))
        started = time.perf_counter()
        try:
            await store.keep(batch.entries)
        except Unavailable as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the entries that come after must be stored
            store.drop()
            self._fail(batch, Unavailable("The database cannot store this now.", retry_after_s=5))
            log.error("batch failed", error=type(error).__name__)
        else:
            self._close(batch)
            batch.done.set_result(None)
            self._tell_all(batch)
            metrics.COMMIT_WAIT_SECONDS.observe(started - batch.begun_at)
            metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
            metrics.BATCH_SIZE.observe(len(batch.entries))

    def _fail(self, batch: Batch, error: Unavailable) -> None:
        self._close(batch, error)
        batch.done.set_exception(error)
        self._tell_all(batch, error)

    @staticmethod
    def _tell_all(batch: Batch, error: Unavailable | None = None) -> None:
        for one in batch.waiting:
            try:
                if error is None:
                    one.stored()
                else:
                    one.not_stored(error)
            except Exception as mistake:  # noqa: BLE001 -- a mistake with one must not keep the others waiting
                log.error("somebody could not be told", error=type(mistake).__name__)

    def _close(self, batch: Batch, error: Unavailable | None = None) -> None:
        if batch.commit is not None:
            batch.commit.end(error.code if error else None)
        del self._open[batch]
        self._pending.remove(batch.done)
        self._queued -= len(batch.entries)
        metrics.QUEUED.set(self._queued)


def _retrieved(done: asyncio.Future[None]) -> None:
    # Those who wait raise it themselves; a fix that nobody waits for must not warn about it.
    done.exception()
