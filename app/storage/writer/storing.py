"""Storing entries on a connection of one's own, across restarts of the database and around what it cannot take."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import asyncpg
import msgspec
import structlog

from app import telemetry
from app.errors import Unavailable
from app.storage.database import Connection
from app.storage.rows import NewReport, report_id_of_hash
from app.storage.writer import arguments
from app.storage.writer.entries import Entry, Unstorable
from app.storage.writer.statements import DATE_UNDATED, NAME_BY_MDN, PLAN_BY_INDEX, store

log = structlog.get_logger()

AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg may raise when the server dies in the middle of an answer
    asyncpg.PostgresError,
    TimeoutError,
)
"""What a statement that is known to be sound raises when the database is away, or as good as away."""

_UNSTORABLE = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeEncodeError,
)
_TRY_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_MOST_TRIES = 4
_KNOWN_ALIASES = 65_536
_ALIAS_REMEMBERED_S = 3600


class _Alias(msgspec.Struct):
    device: str
    mdn: str
    device_kind: str
    at: str


class Store:
    """Stores entries; `drop` closes its connection.

    Attributes:
        unclaimed: Called with transaction ids that belong to no known session, once their reports are stored.
        away_since: Since when the database has been away, on the monotonic clock; None while it is there.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, patience_s: float, statement_timeout_s: float
    ) -> None:
        self.unclaimed: Callable[[list[str]], None] = lambda _: None
        self.away_since: float | None = None
        self._connect = connect
        self._patience_s = patience_s
        self._statement_timeout_s = statement_timeout_s
        self._connection: Connection | None = None
        self._encode = msgspec.json.Encoder().encode
        self._known_aliases: OrderedDict[tuple[str, str], float] = OrderedDict()

    @property
    def is_given_up(self) -> bool:
        """Whether the database has been away for longer than the patience lasts."""
        return self.away_since is not None and time.monotonic() - self.away_since > self._patience_s

    async def keep(self, entries: list[Entry], *, is_repeated: bool, is_hasty: bool) -> None:
        """Store the entries, across restarts of the database that end within the patience.

        Args:
            is_repeated: Some of it may be stored already.
            is_hasty: Commit without waiting for the flush.

        Raises:
            Unstorable: The database cannot take one of the entries, which has no callback to be quarantined.
            Unavailable: The database has been away for too long.
        """
        tries = 0
        while True:
            tries += 1
            try:
                async with asyncio.timeout(self._statement_timeout_s):
                    connection = await self._connected()
                    await self._store(connection, entries, is_repeated=is_repeated, is_hasty=is_hasty)
            except _UNSTORABLE as error:
                await self._keep_apart(entries, error, is_repeated=is_repeated)
                return
            except _TRY_AGAIN as error:
                if tries >= _MOST_TRIES:
                    raise Unavailable("The database is too busy.", retry_after_s=1) from error
            except AWAY as error:
                # Nobody knows whether it was committed before the connection was lost.
                is_repeated = True
                await self._wait_for_database(error)
            else:
                self.away_since = None
                return

    async def probe(self) -> None:
        """Look whether the database is back."""
        try:
            async with asyncio.timeout(self._statement_timeout_s):
                await (await self._connected()).fetchval("SELECT 1")
        except Exception:  # noqa: BLE001 -- whatever it is, it must not end the task that asks
            self.drop()
        else:
            self.away_since = None

    def drop(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def forget_aliases(self) -> None:
        """Forget which identifiers belong together, so that callbacks teach it again; the database is not touched."""
        self._known_aliases.clear()

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
        self.drop()
        now = time.monotonic()
        if self.away_since is None:
            self.away_since = now
            log.warning("database away", error=type(error).__name__)
        if now - self.away_since > self._patience_s:
            raise Unavailable("The database cannot be reached.", retry_after_s=5) from error
        await asyncio.sleep(0.1)

    async def _keep_apart(self, entries: list[Entry], error: Exception, *, is_repeated: bool) -> None:
        """Find the entry that the database cannot take, and keep its raw bytes in quarantine instead."""
        if len(entries) > 1:
            await self._keep_halves(entries, is_repeated=is_repeated)
            return
        entry = entries[0]
        if entry.callback is None or not entry.reports:
            log.error("entry cannot be stored", error=type(error).__name__)
            raise Unstorable("The database cannot store this.") from error
        reason = f"the database cannot store it ({type(error).__name__})"
        callback = msgspec.structs.replace(entry.callback, state="quarantined", reason=reason)
        quarantined = msgspec.structs.replace(entry, reports=(), callback=callback)
        await self.keep([quarantined], is_repeated=is_repeated, is_hasty=False)

    async def _keep_halves(self, entries: list[Entry], *, is_repeated: bool) -> None:
        middle = len(entries) // 2
        failure: Unstorable | None = None
        for half in (entries[:middle], entries[middle:]):
            try:
                await self.keep(half, is_repeated=is_repeated, is_hasty=False)
            except Unstorable as error:
                # The neighbours are stored all the same; who waits for them hears of a failure, and sends them again.
                failure = error
        if failure is not None:
            raise failure

    async def _store(self, connection: Connection, entries: list[Entry], *, is_repeated: bool, is_hasty: bool) -> None:
        reports = [report for entry in entries for report in entry.reports]
        await self._complete(connection, reports)
        callbacks = [(entry.callback, entry.body) for entry in entries if entry.callback is not None]
        aliases = self._new_aliases(reports)
        given = [
            *arguments.of_reports(reports),
            *arguments.of_callbacks([callback for callback, _ in callbacks], [body for _, body in callbacks]),
            self._encode(aliases).decode(),
        ]
        audit = [row for entry in entries for row in entry.audit]
        if audit:
            given.append(self._encode(audit).decode())
        statement = store(is_audited=bool(audit), is_repeated=is_repeated, is_hasty=is_hasty)
        stored = await connection.fetchrow(statement, *given)
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
            found = await connection.fetch(DATE_UNDATED, self._encode(hashes).decode())
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

    def _remember(self, aliases: Iterable[_Alias]) -> None:
        now = time.monotonic()
        for alias in aliases:
            self._known_aliases[alias.device, alias.mdn] = now
            self._known_aliases.move_to_end((alias.device, alias.mdn))
        while len(self._known_aliases) > _KNOWN_ALIASES:
            self._known_aliases.popitem(last=False)
