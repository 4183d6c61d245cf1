"""The queue in front of the database: batches that form while others are stored, and their release."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from app import telemetry
from app.errors import Overloaded, Unavailable
from app.storage.database import Connection
from app.storage.writer.entries import Batch, Entry, Stored
from app.storage.writer.flushing import Witness, call_witness
from app.storage.writer.storing import Store

log = structlog.get_logger()

_PROBE_EVERY_S = 0.25
_FEW = 8
"""So few entries are flushed by their own commit: one round trip less for those who wait, and little work for it."""


class Writer:
    """Stores entries in shared commits.

    The flush of a larger batch is left to a second connection, while the next batch is stored; nobody is told that
    an entry is stored before it is flushed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        bound: int = 20_000,
        batch_limit: int = 512,
        patience_s: float = 3.0,
        statement_timeout_s: float = 30.0,
    ) -> None:
        """Make a writer with connections of its own.

        Args:
            connect: Opens a connection; asked again after each loss.
            bound: How many entries may wait; more are refused.
            batch_limit: How many entries share a commit at most.
            patience_s: How long entries are held while the database restarts, before they fail.
            statement_timeout_s: After so long a statement counts as lost.
        """
        self._connect = connect
        self._bound = bound
        self._batch_limit = batch_limit
        self._timeout_s = statement_timeout_s
        self._store = Store(connect, patience_s=patience_s, statement_timeout_s=statement_timeout_s)
        self._witness: Witness | None = None
        self._open: dict[Batch, None] = {}
        self._waiting: list[Batch] = []
        self._unflushed: list[tuple[Batch, Witness]] = []
        self._queued = 0
        self._wake = asyncio.Event()
        self._wake_flush = asyncio.Event()
        telemetry.QUEUE_BOUND.set(bound)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Writer"]:
        """Own the background tasks; on leaving, everything accepted is stored first."""
        tasks = [asyncio.create_task(self._run(), name="writer"), asyncio.create_task(self._flush(), name="flush")]
        try:
            yield self
        finally:
            with contextlib.suppress(Unavailable):
                await self.drained()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for batch in list(self._open):
                self._fail(batch, Unavailable("The gateway is stopping.", retry_after_s=5))
            self._store.drop()
            if self._witness is not None:
                self._witness.dismiss()

    @property
    def unclaimed(self) -> Callable[[list[str]], None]:
        """What is called, after a batch is stored, with transaction ids that belong to no known session."""
        return self._store.unclaimed

    @unclaimed.setter
    def unclaimed(self, hook: Callable[[list[str]], None]) -> None:
        self._store.unclaimed = hook

    def submit(self, entry: Entry) -> asyncio.Future[None]:
        """Queue an entry; the returned future, shared with its neighbours, is done when it is durable.

        The future raises `Unavailable` when the entry is not known to be stored, and `Unstorable` when that is due to
        an entry without a callback that could be kept in quarantine instead.

        Raises:
            Overloaded: Too many entries wait already.
            Unavailable: The database has been away for longer than the writer's patience.
        """
        if self._queued >= self._bound:
            raise Overloaded("Too many callbacks wait to be stored.", retry_after_s=2)
        if self._store.is_given_up:
            raise Unavailable("The database cannot be reached.", retry_after_s=5)
        if not self._waiting or len(self._waiting[-1].entries) >= self._batch_limit or self._waiting[-1].is_repeated:
            done = Stored()
            done.add_done_callback(_retrieved)
            self._waiting.append(Batch(done))
            self._open[self._waiting[-1]] = None
            self._wake.set()
        batch = self._waiting[-1]
        batch.entries.append(entry)
        self._queued += 1
        return batch.done

    async def drained(self) -> None:
        """Wait until everything queued before this call is durable or refused."""
        if self._open:
            await asyncio.wait([batch.done for batch in self._open])

    def forget_aliases(self) -> None:
        """Forget which identifiers belong together, so that callbacks teach it again; the database is not touched."""
        self._store.forget_aliases()

    async def _run(self) -> None:
        while True:
            if self._store.away_since is None:
                await self._wake.wait()
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROBE_EVERY_S):
                        await self._wake.wait()
                await self._store.probe()
            self._wake.clear()
            while self._waiting:
                await self._settle(self._waiting.pop(0))

    async def _settle(self, batch: Batch) -> None:
        """Store a batch, and release it or leave that to the flush."""
        is_alone = len(self._open) == 1 and len(batch.entries) <= _FEW
        witness = None if batch.is_repeated or is_alone else await self._witnessed()
        if not batch.is_repeated:
            telemetry.COMMIT_WAIT_SECONDS.observe(time.perf_counter() - batch.begun_at)
            telemetry.BATCH_SIZE.observe(len(batch.entries))
        batch.stored_from = time.perf_counter()
        try:
            await self._store.keep(batch.entries, is_repeated=batch.is_repeated, is_hasty=witness is not None)
        except Unavailable as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the entries that come after must be stored
            log.error("batch failed", error=type(error).__name__)
            self._store.drop()
            self._fail(batch, Unavailable("The database cannot store this now.", retry_after_s=5))
        else:
            if witness is None:
                self._release(batch)
            else:
                self._unflushed.append((batch, witness))
                self._wake_flush.set()

    async def _witnessed(self) -> Witness | None:
        if self._witness is None or not self._witness.is_alive:
            self._witness = await call_witness(self._connect, timeout_s=self._timeout_s)
        return self._witness

    async def _flush(self) -> None:
        """Release what was stored in haste once it is durable; what may have been lost is stored again."""
        while True:
            await self._wake_flush.wait()
            self._wake_flush.clear()
            stored, self._unflushed = self._unflushed, []
            for witness in dict.fromkeys(witness for _, witness in stored):
                is_durable = await witness.flush()
                for batch in [batch for batch, by in stored if by is witness]:
                    if is_durable:
                        self._release(batch)
                    else:
                        self._repeat(batch)

    def _repeat(self, batch: Batch) -> None:
        batch.is_repeated = True
        self._store.forget_aliases()
        self._waiting.insert(0, batch)
        self._wake.set()

    def _release(self, batch: Batch) -> None:
        telemetry.COMMIT_SECONDS.observe(time.perf_counter() - batch.stored_from)
        self._close(batch)
        batch.done.set_result(None)

    def _fail(self, batch: Batch, error: Unavailable) -> None:
        self._close(batch)
        batch.done.set_exception(error)

    def _close(self, batch: Batch) -> None:
        del self._open[batch]
        self._queued -= len(batch.entries)
        telemetry.QUEUED.set(self._queued)


def _retrieved(done: asyncio.Future[None]) -> None:
    # Those who wait raise it themselves; a fix that nobody waits for must not warn about it.
    done.exception()
