"""Stores entries over a connection of its own, across restarts of the database, and without what it cannot take."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from operator import attrgetter

import asyncpg
import msgspec
import structlog

from app.errors import TransactionConflict, Unavailable
from app.observability import metrics
from app.plausibility import IDENTIFIER_UNREADABLE
from app.storage.audit import NewAudit
from app.storage.connections import Connection
from app.storage.driver_errors import NOT_MIGRATED, failure_of
from app.storage.rows import NewCallback, NewReport, NewSimpleFix, report_id_of_hash
from app.storage.writer import arguments
from app.storage.writer.aliases import KnownDevices, SeenDevice
from app.storage.writer.entries import AliasPair, Entry, Unstorable
from app.storage.writer.statements import DATE_UNDATED, FLUSH, FORGET_REFUSED, NAME_BY_MDN, PLAN_BY_INDEX, store

log = structlog.get_logger()

_MOST_TRIES = 4
_FLUSHES = 3
_MEASURED_EVERY_S = 60.0
"""Flushes are timed on connecting and then once a minute, three times, of which the fastest counts."""
REPETITIONS_EXPECTED_S = 10.0
"""Long enough for a provider that repeats a burst to get through it."""
_MOST_REPORTS = 1000
"""How many reports one statement takes: binding more would block the event loop for more than some milliseconds."""
_by_id = attrgetter("id")


class _Page(msgspec.Struct, kw_only=True, gc=False):
    """The part of a batch that one statement stores; nearly always all of it."""

    reports: list[NewReport]
    callbacks: list[tuple[NewCallback, bytes]] = []
    simple_fixes: list[NewSimpleFix] = []
    audit: list[NewAudit] = []


class Store:
    """Stores entries; `drop` closes its connection.

    Attributes:
        away_since: When the database was lost, on the monotonic clock; None while it is there.
        flush_s: How long a commit of next to nothing took lately, which is how long the disk takes to flush.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        known_devices: KnownDevices,
        *,
        unclaimed: Callable[[list[str]], None],
        stored: Callable[[], None],
        patience_s: float,
        statement_timeout_s: float,
        repetitions_expected_s: float,
    ) -> None:
        """Make a store that is not connected yet.

        Args:
            connect: Opens a connection; called again after each loss.
            unclaimed: Called with the transaction ids that belong to no known session, once their reports are stored.
            stored: Called after each commit of new reports.
            patience_s: How long entries are held while the database restarts, before they fail.
            statement_timeout_s: How long a statement may take before it counts as lost.
            repetitions_expected_s: How long statements skip what is stored already, after one has failed because
                something was. Skipping costs more, so it is not done at other times.
        """
        self._unclaimed = unclaimed
        self._stored = stored
        self._known_devices = known_devices
        self.away_since: float | None = None
        self.flush_s = 0.0
        self._measure_at = 0.0
        self._repetitions_expected_s = repetitions_expected_s
        self._expects_repetitions_until = 0.0
        self._connect = connect
        self._patience_s = patience_s
        self._statement_timeout_s = statement_timeout_s
        self._connection: Connection | None = None
        self._encode = msgspec.json.Encoder().encode

    @property
    def is_given_up(self) -> bool:
        """Whether the database has been away for longer than entries are held."""
        return self.away_since is not None and time.monotonic() - self.away_since > self._patience_s

    async def keep(self, entries: list[Entry], *, is_repeated: bool = False) -> None:
        """Store the entries, across restarts of the database that end within the patience.

        Args:
            is_repeated: Some of them may be stored already.

        Raises:
            Unstorable: The database cannot take one of the entries, which has no callback to be quarantined.
            Unavailable: The database has been away for too long, or has not been migrated.
        """
        tries = surprises = 0
        while True:
            tries += 1
            try:
                async with asyncio.timeout(self._statement_timeout_s):
                    await self._store(await self._connected(), entries, is_repeated=is_repeated)
            except Exception as error:  # noqa: BLE001 -- raised again where it is nothing to recover from
                failure = failure_of(error)
                if failure in {"unstorable", "duplicate"}:
                    await self._quarantine(entries, error, is_repeated=is_repeated)
                    return
                surprises += failure is None
                await self._recover(error, tries=tries, surprises=surprises)
                # It may have been committed before the connection was lost; after a conflict nothing is.
                is_repeated = is_repeated or failure != "conflict"
            else:
                self.away_since = None
                return

    async def _recover(self, error: Exception, *, tries: int, surprises: int) -> None:
        """Get ready for another try; raise where that is of no use.

        Raises:
            Unavailable: The database has been away for too long, or is too busy, or has not been migrated.
        """
        match failure_of(error):
            case "unmigrated":
                raise Unavailable(NOT_MIGRATED, retry_after_s=5) from error
            case "conflict" if tries >= _MOST_TRIES:
                raise TransactionConflict("The database is too busy.", retry_after_s=1) from error
            case "away" | "read_only" | "locked" | "pooled" | "refused":
                await self._wait_for_database(error)
            case None:
                # What libraries raise while a server dies is no closed list; if it is due to the entries, a new
                # connection raises it again.
                if surprises > 1:
                    raise error
                log.warning("storing failed, once more on a new connection", error=type(error).__name__)
                self.drop()

    async def probe(self) -> None:
        """Check whether the database is back."""
        try:
            async with asyncio.timeout(self._statement_timeout_s):
                await (await self._connected()).fetchval("SELECT 1")
        except Exception:  # noqa: BLE001 -- whatever it is, it must not end the task
            self.drop()
        else:
            self.away_since = None

    def drop(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            await self._connection.execute(PLAN_BY_INDEX)
            # The first batch would otherwise hold its lock until it is committed.
            await self._connection.execute("SELECT event_generation()")
            self._measure_at = 0.0
        if (now := time.monotonic()) >= self._measure_at:
            self.flush_s = min([await _duration_s(self._connection, FLUSH) for _ in range(_FLUSHES)])
            self._measure_at = now + _MEASURED_EVERY_S
        return self._connection

    async def _wait_for_database(self, error: Exception) -> None:
        """Drop the connection and wait a moment; give up once entries have been held for long enough.

        Raises:
            Unavailable: The database has been away for too long.
        """
        self.drop()
        now = time.monotonic()
        if self.away_since is None:
            self.away_since = now
            log.warning("database away", error=type(error).__name__)
        if now - self.away_since > self._patience_s:
            raise Unavailable("The database cannot be reached.", retry_after_s=5) from error
        await asyncio.sleep(0.1)

    async def _quarantine(self, entries: list[Entry], error: Exception, *, is_repeated: bool) -> None:
        """Find the entry that the database cannot take, and store its callback in quarantine instead."""
        if failure_of(error) == "duplicate" and not is_repeated:
            # It can take the row, but has it already. Where one is repeated, more are likely to be.
            self._expects_repetitions_until = time.monotonic() + self._repetitions_expected_s
            await self.keep(entries, is_repeated=True)
            return
        if len(entries) > 1:
            await self._keep_halves(entries, is_repeated=is_repeated)
            return
        entry = entries[0]
        reason = f"the database cannot store it ({type(error).__name__})"
        if entry.simple_fix is not None:
            quarantined = Entry(callback=entry.simple_fix.quarantined(reason), body=entry.simple_fix.body)
            await self.keep([quarantined], is_repeated=is_repeated)
            return
        if entry.callback is None or not entry.reports:
            log.error("entry cannot be stored", error=type(error).__name__)
            raise Unstorable("The database cannot store this.") from error
        callback = msgspec.structs.replace(entry.callback, state="quarantined", reason=reason)
        quarantined = msgspec.structs.replace(entry, reports=(), callback=callback)
        await self.keep([quarantined], is_repeated=is_repeated)

    async def _keep_halves(self, entries: list[Entry], *, is_repeated: bool) -> None:
        middle = len(entries) // 2
        failure: Unstorable | None = None
        for half in (entries[:middle], entries[middle:]):
            try:
                await self.keep(half, is_repeated=is_repeated)
            except Unstorable as error:
                # The neighbours are stored all the same. Their senders hear of a failure too, and repeat them.
                failure = error
        if failure is not None:
            raise failure

    async def _store(self, connection: Connection, entries: list[Entry], *, is_repeated: bool) -> None:
        simple_fixes = [entry.simple_fix for entry in entries if entry.simple_fix is not None]
        others = entries if not simple_fixes else [entry for entry in entries if entry.simple_fix is None]
        reports = [report for entry in others for report in entry.reports]
        await self._complete(connection, reports)
        # In one order everywhere, so that two replicas that store the same reports never deadlock.
        reports.sort(key=_by_id)
        simple_fixes.sort(key=_by_id)
        first = _Page(
            reports=reports[:_MOST_REPORTS],
            callbacks=[(entry.callback, entry.body) for entry in others if entry.callback is not None],
            simple_fixes=simple_fixes,
            audit=[row for entry in others for row in entry.audit],
        )
        rest = [_Page(reports=page) for page in _pages(reports[_MOST_REPORTS:])]
        async with connection.transaction() if rest else nullcontext():
            done = [await self._store_page(connection, page, is_repeated=is_repeated) for page in (first, *rest)]
        for seen, stored in done:
            self._known_devices.remember(seen)
            metrics.REPORTS.inc(stored["stored"])
            if stored["unclaimed"]:
                self._unclaimed(stored["unclaimed"])
        if any(stored["stored"] for _, stored in done):
            self._stored()
        await self._forget_refused(connection, others, reports)

    async def _store_page(
        self, connection: Connection, page: "_Page", *, is_repeated: bool
    ) -> tuple[list[SeenDevice], asyncpg.Record]:
        seen = self._known_devices.new_in([*page.reports, *page.simple_fixes])
        has_reports = bool(page.reports or page.callbacks or not page.simple_fixes)
        given: list[object] = []
        if has_reports:
            given += arguments.of_reports(page.reports), arguments.of_callbacks(page.callbacks)
        if page.simple_fixes:
            given.append(arguments.of_simple_fixes(page.simple_fixes))
        given += [self._encode(rows).decode() for rows in (seen, page.audit) if rows]
        statement = store(
            has_reports=has_reports,
            has_simple_fixes=bool(page.simple_fixes),
            has_devices=bool(seen),
            has_audit=bool(page.audit),
            is_repeated=is_repeated or time.monotonic() < self._expects_repetitions_until,
        )
        stored = await connection.fetchrow(statement, *given)
        assert stored is not None
        return seen, stored

    async def _forget_refused(self, connection: Connection, entries: list[Entry], reports: list[NewReport]) -> None:
        refused = [pair for entry in entries for pair in entry.refused]
        refused += [
            AliasPair(report.account, report.device, report.refused_mdn)
            for report in reports
            if report.is_vouched and report.account and report.refused_mdn
        ]
        if refused:
            await connection.execute(FORGET_REFUSED, self._encode(refused).decode())
            self._known_devices.forget(refused)

    async def _complete(self, connection: Connection, reports: list[NewReport]) -> None:
        """Date reports without a time by their first arrival, and find the devices where only an MDN is named."""
        for unnamed in _pages([report for report in reports if _is_unnamed(report)]):
            found = await connection.fetch(NAME_BY_MDN, [report.mdn for report in unnamed])
            devices = {(row["account"], row["mdn"]): (row["device"], row["device_kind"]) for row in found}
            for report in unnamed:
                report.device, report.device_kind = devices.get((report.account, report.mdn), (report.device, None))
        for undated in _pages([report for report in reports if report.undated]):
            hashes = [{"hash": report.content_hash, "at": report.received_at} for report in undated]
            found = await connection.fetch(DATE_UNDATED, self._encode(hashes).decode())
            first = {row["content_hash"].hex: row["at"] for row in found}
            for report in undated:
                report.at = first[report.content_hash]
                report.id = report_id_of_hash(report.at, report.content_hash)


def _pages(reports: list[NewReport]) -> list[list[NewReport]]:
    return [reports[start : start + _MOST_REPORTS] for start in range(0, len(reports), _MOST_REPORTS)]


def _is_unnamed(report: NewReport) -> bool:
    """Return whether a report names an MDN alone; with something unreadable beside it, it may mean another device."""
    return report.device.startswith("mdn:") and IDENTIFIER_UNREADABLE not in (report.flags or ())


async def _duration_s(connection: Connection, statement: str) -> float:
    started = time.perf_counter()
    await connection.execute(statement)
    return time.perf_counter() - started
