"""The one writer of reports and callbacks: many wait, one statement stores them all, one commit releases them.

Batches form by themselves: while a statement runs, whatever arrives makes the next batch. A lone entry is stored at
once, a burst shares its commits, and no timer is involved.
"""

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg
import msgspec
import structlog

from app import telemetry
from app.errors import Overloaded, Unavailable
from app.storage.audit import NewAudit
from app.storage.database import Connection
from app.storage.rows import NewCallback, NewReport, report_id_of_hash
from app.storage.store_sql import DATE_UNDATED, NAME_BY_MDN, PLAN_BY_INDEX, STORE, STORE_AUDITED

log = structlog.get_logger()

_UNSTORABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeEncodeError,
)
_TRY_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg may raise when the server dies in the middle of an answer
    asyncpg.PostgresError,
    TimeoutError,
)
_MOST_TRIES = 4
_PROBE_EVERY_S = 0.25
_KNOWN_ALIASES = 65_536
_ALIAS_REMEMBERED_S = 3600


class Unstorable(Unavailable):
    """The database is there, and cannot take one of the entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one callback, one fix or one deed adds: stored as a whole or not at all."""

    reports: tuple[NewReport, ...] = ()
    callback: NewCallback | None = None
    body: bytes = b""
    audit: tuple[NewAudit, ...] = ()


@dataclass(slots=True)
class _Batch:
    done: asyncio.Future[None]
    entries: list[Entry] = field(default_factory=list)
    begun_at: float = field(default_factory=time.perf_counter)


class _Alias(msgspec.Struct):
    device: str
    mdn: str
    device_kind: str
    at: str


class Writer:
    """Stores entries in shared commits.

    Attributes:
        unclaimed: Called after a commit with transaction ids that belong to no known session.
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
        """Make a writer with one connection of its own.

        Args:
            connect: Opens the connection, again after each loss.
            bound: How many entries may wait; more are refused.
            batch_limit: How many entries share a commit at most.
            patience_s: How long entries are held while the database restarts, before they fail.
            statement_timeout_s: After so long a statement counts as lost.
        """
        self.unclaimed: Callable[[list[str]], None] = lambda _: None
        self._connect = connect
        self._bound = bound
        self._batch_limit = batch_limit
        self._patience_s = patience_s
        self._statement_timeout_s = statement_timeout_s
        self._connection: Connection | None = None
        self._away_since: float | None = None
        self._waiting: list[_Batch] = []
        self._running: _Batch | None = None
        self._queued = 0
        self._wake = asyncio.Event()
        self._encoder = msgspec.json.Encoder()
        self._known_aliases: OrderedDict[tuple[str, str], float] = OrderedDict()
        telemetry.QUEUE_BOUND.set(bound)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Writer"]:
        """Own the background task; on leaving, everything accepted is stored first."""
        task = asyncio.create_task(self._run(), name="writer")
        try:
            yield self
        finally:
            with contextlib.suppress(Unavailable):
                await self.drained()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._drop_connection()

    def submit(self, entry: Entry) -> asyncio.Future[None]:
        """Queue an entry; the returned future, shared with its neighbours, is done when it is committed.

        The future raises `Unavailable` when the entry is not known to be stored, and `Unstorable` when that is due to
        an entry without a callback that could be kept in quarantine instead.

        Raises:
            Overloaded: Too many entries wait already.
            Unavailable: The database has been away for longer than the writer's patience.
        """
        if self._queued >= self._bound:
            raise Overloaded("Too many callbacks wait to be stored.", retry_after_s=2)
        if self._away_since is not None and time.monotonic() - self._away_since > self._patience_s:
            raise Unavailable("The database cannot be reached.", retry_after_s=5)
        if not self._waiting or len(self._waiting[-1].entries) >= self._batch_limit:
            done = asyncio.get_running_loop().create_future()
            done.add_done_callback(_retrieved)
            self._waiting.append(_Batch(done))
            self._wake.set()
        batch = self._waiting[-1]
        batch.entries.append(entry)
        self._queued += 1
        return batch.done

    async def drained(self) -> None:
        """Wait until everything queued before this call is committed or refused."""
        pending = [batch.done for batch in (self._running, *self._waiting) if batch is not None]
        if pending:
            await asyncio.wait(pending)

    async def _run(self) -> None:
        while True:
            if self._away_since is None:
                await self._wake.wait()
            else:
                await self._probe()
            while self._waiting:
                self._running = batch = self._waiting.pop(0)
                await self._settle(batch)
                self._queued -= len(batch.entries)
                self._running = None
                telemetry.QUEUED.set(self._queued)
            self._wake.clear()

    async def _probe(self) -> None:
        """Look whether the database is back, until it is or an entry comes that wants to know."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROBE_EVERY_S):
                await self._wake.wait()
        try:
            async with asyncio.timeout(self._statement_timeout_s):
                await (await self._connected()).fetchval("SELECT 1")
        except _AWAY:
            self._drop_connection()
        else:
            self._away_since = None

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _settle(self, batch: _Batch) -> None:
        try:
            started = time.perf_counter()
            await self._store_patiently(batch.entries)
        except Unavailable as error:
            batch.done.set_exception(error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the entries that come after must be stored
            log.error("batch failed", error=type(error).__name__)
            self._drop_connection()
            batch.done.set_exception(Unavailable("The database cannot store this now.", retry_after_s=5))
        except BaseException:
            batch.done.set_exception(Unavailable("The gateway is stopping.", retry_after_s=5))
            raise
        else:
            batch.done.set_result(None)
            telemetry.COMMIT_WAIT_SECONDS.observe(started - batch.begun_at)
            telemetry.COMMIT_SECONDS.observe(time.perf_counter() - started)
            telemetry.BATCH_SIZE.observe(len(batch.entries))

    async def _store_patiently(self, entries: list[Entry]) -> None:
        """Store the entries, across restarts of the database that end within the writer's patience."""
        tries = 0
        while True:
            tries += 1
            try:
                async with asyncio.timeout(self._statement_timeout_s):
                    connection = await self._connected()
                    await self._store(connection, entries)
            except _UNSTORABLE as error:
                await self._store_apart(entries, error)
                return
            except _TRY_AGAIN as error:
                if tries >= _MOST_TRIES:
                    raise Unavailable("The database is too busy.", retry_after_s=1) from error
            except _AWAY as error:
                await self._wait_for_database(error)
            else:
                self._away_since = None
                return

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            await self._connection.execute(PLAN_BY_INDEX)
        return self._connection

    async def _wait_for_database(self, error: Exception) -> None:
        """Drop the connection and wait a little; give up once the patience is used up.

        Raises:
            Unavailable: The database has been away for too long.
        """
        self._drop_connection()
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning("database away", error=type(error).__name__)
        if now - self._away_since > self._patience_s:
            raise Unavailable("The database cannot be reached.", retry_after_s=5) from error
        await asyncio.sleep(0.1)

    async def _store_apart(self, entries: list[Entry], error: Exception) -> None:
        """Find the entry that the database cannot take, and keep its raw bytes in quarantine instead."""
        if len(entries) > 1:
            await self._store_halves(entries)
            return
        entry = entries[0]
        if entry.callback is None or not entry.reports:
            log.error("entry cannot be stored", error=type(error).__name__)
            raise Unstorable("The database cannot store this.") from error
        reason = f"the database cannot store it ({type(error).__name__})"
        callback = msgspec.structs.replace(entry.callback, state="quarantined", reason=reason)
        await self._store_patiently([replace(entry, reports=(), callback=callback)])

    async def _store_halves(self, entries: list[Entry]) -> None:
        middle = len(entries) // 2
        failure: Unstorable | None = None
        for half in (entries[:middle], entries[middle:]):
            try:
                await self._store_patiently(half)
            except Unstorable as error:
                # The neighbours are stored all the same; who waits for them hears of a failure, and sends them again.
                failure = error
        if failure is not None:
            raise failure

    async def _store(self, connection: Connection, entries: list[Entry]) -> None:
        reports = [report for entry in entries for report in entry.reports]
        kept = [entry for entry in entries if entry.callback is not None]
        await self._complete(connection, reports)
        aliases = self._new_aliases(reports)
        encode = self._encoder.encode
        arguments = [
            encode(reports).decode(),
            encode([entry.callback for entry in kept]).decode(),
            [entry.body for entry in kept],
            encode(aliases).decode(),
        ]
        audit = [row for entry in entries for row in entry.audit]
        if audit:
            stored = await connection.fetchrow(STORE_AUDITED, *arguments, encode(audit).decode())
        else:
            stored = await connection.fetchrow(STORE, *arguments)
        self._remember(aliases)
        assert stored is not None
        telemetry.REPORTS.inc(stored["stored"])
        if stored["unclaimed"]:
            self.unclaimed(stored["unclaimed"])

    async def _complete(self, connection: Connection, reports: list[NewReport]) -> None:
        """Give reports without a time their first arrival, and reports with only an MDN the device it belongs to."""
        unnamed = [report for report in reports if report.device.startswith("mdn:")]
        if unnamed:
            found = await connection.fetch(NAME_BY_MDN, [report.mdn for report in unnamed])
            devices = {row["mdn"]: (row["device"], row["device_kind"]) for row in found}
            for report in unnamed:
                report.device, report.device_kind = devices.get(report.mdn, (report.device, None))
        undated = [report for report in reports if report.undated]
        if undated:
            hashes = [{"hash": report.content_hash, "at": report.received_at} for report in undated]
            found = await connection.fetch(DATE_UNDATED, self._encoder.encode(hashes).decode())
            first = {row["content_hash"].hex: row["at"] for row in found}
            for report in undated:
                report.at = first[report.content_hash]
                report.id = report_id_of_hash(report.at, report.content_hash)

    def _new_aliases(self, reports: Iterable[NewReport]) -> list[_Alias]:
        known = self._known_aliases
        # What a pair taught is written down again now and then, so that retention sees that it is in use, and so that
        # another replica's erasure does not leave it forgotten.
        stale = time.monotonic() - _ALIAS_REMEMBERED_S
        return [
            _Alias(report.device, report.mdn, report.device_kind, report.received_at.isoformat())
            for report in reports
            if report.mdn and report.device_kind and known.get((report.device, report.mdn), -math.inf) < stale
        ]

    def forget_aliases(self) -> None:
        """Forget which identifiers belong together, so that callbacks teach it again; the database is not touched."""
        self._known_aliases.clear()

    def _remember(self, aliases: Iterable[_Alias]) -> None:
        now = time.monotonic()
        for alias in aliases:
            self._known_aliases[alias.device, alias.mdn] = now
            self._known_aliases.move_to_end((alias.device, alias.mdn))
        while len(self._known_aliases) > _KNOWN_ALIASES:
            self._known_aliases.popitem(last=False)


def _retrieved(done: asyncio.Future[None]) -> None:
    # Those who wait raise it themselves; a fix that nobody waits for must not warn about it.
    if not done.cancelled():
        done.exception()
