"""Decode stored callbacks again, after a fix: what was in quarantine becomes reports, what was stored stays."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from app.callbacks.decoding import DecodingThread, decode
from app.callbacks.tokens import CallbackTokens
from app.caller import EVERYTHING, Reach
from app.content import legible
from app.errors import GatewayError, NotFound
from app.storage import callbacks
from app.storage.callbacks import CallbackFilter, StoredCallback
from app.storage.database import Database
from app.storage.rows import NewCallback
from app.storage.writer import Entry, Unstorable, Writer

_PAGE = 100
_NOT_READ = "the provider reads no callbacks any more"
_MOST_COUNTED = 1_000_000
_LARGEST = 4 * 1024 * 1024
"""Bytes of a stored body without its content coding; new ones are stored without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The outcome of a replay.

    Attributes:
        state: `stored` or `quarantined`, from now on.
        reports: How many reports the callback holds; those already stored are not stored twice.
        reason: Why it stays in quarantine.
    """

    id: UUID
    state: str
    reports: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """How many callbacks of a replay are stored and quarantined, from now on.

    Attributes:
        last: The last callback of a replay that was limited and did not reach the end.
    """

    stored: int
    quarantined: int
    last: UUID | None = None


class Replay:
    """Replays callbacks from the database."""

    def __init__(self, database: Database, writer: Writer, addresses: CallbackTokens) -> None:
        self._database = database
        self._writer = writer
        self._addresses = addresses
        self._thread = DecodingThread()

    async def one(self, key: UUID, *, reach: Reach = EVERYTHING) -> Replayed:
        """Replay one callback within reach.

        Raises:
            NotFound: There is no such callback.
            Unavailable: The reports could not be stored; nothing has changed.
        """
        async with self._database.reading() as session:
            row = await callbacks.find(session, key, reach)
        if row is None:
            raise NotFound("There is no such callback.")
        [replayed] = await self._replay([row])
        return replayed

    async def every(
        self, wanted: CallbackFilter, check: Callable[[], Awaitable[None]], *, limit: int | None = None
    ) -> ReplaySummary:
        """Replay the callbacks that match, newest first.

        Args:
            check: Called before each page; what it raises ends the replay.
            limit: Replay at most this many; go on behind the `last` of the answer.
        """
        stored = quarantined = 0
        while True:
            await check()
            left = _PAGE if limit is None else min(_PAGE, limit - stored - quarantined)
            async with self._database.reading() as session:
                rows = await callbacks.page(session, wanted, left)
            replayed = await self._replay(rows)
            in_page = sum(one.state == "stored" for one in replayed)
            stored, quarantined = stored + in_page, quarantined + len(replayed) - in_page
            if len(rows) < left:
                return ReplaySummary(stored=stored, quarantined=quarantined)
            if stored + quarantined == limit:
                return ReplaySummary(stored=stored, quarantined=quarantined, last=rows[-1].id)
            wanted = replace(wanted, before=rows[-1].id)

    async def count(self, wanted: CallbackFilter) -> int | None:
        """Count the callbacks that match; None for a million or more."""
        async with self._database.reading() as session:
            found = await callbacks.count(session, wanted, _MOST_COUNTED)
        return found if found < _MOST_COUNTED else None

    async def _replay(self, rows: Sequence[StoredCallback]) -> list[Replayed]:
        # Together they share commits, as callbacks do that arrive together.
        replayed = await asyncio.gather(*map(self._store_reports, rows))
        async with self._database.transaction() as session:
            for one in replayed:
                if one.reason == _NOT_READ:
                    continue
                await callbacks.settle(session, one.id, state=one.state, reason=one.reason)
        return replayed

    async def _store_reports(self, row: StoredCallback) -> Replayed:
        address = self._addresses.of_stored(row.provider, row.account, row.service)
        if address is None:
            return Replayed(id=row.id, state=row.state, reason=_NOT_READ)
        try:
            body = legible(row.body, (), _LARGEST)
            reports = await self._thread.run(len(body), lambda: decode(address, body, to_new_callback(row)))
        except GatewayError as error:
            return Replayed(id=row.id, state="quarantined", reason=error.detail)
        try:
            await self._writer.submit(Entry(reports=reports))
        except Unstorable as error:
            return Replayed(id=row.id, state="quarantined", reason=error.detail)
        return Replayed(id=row.id, state="stored", reports=len(reports))


def to_new_callback(row: StoredCallback) -> NewCallback:
    """Turn a stored callback into one on its way into the database, as its reader expects it."""
    return NewCallback(
        id=row.id.hex,
        received_at=row.received_at,
        provider=row.provider,
        service=row.service,
        state="stored",
        signature=row.signature,
        account=row.account,
    )
