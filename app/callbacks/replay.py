"""Decode stored callbacks again, after a fix: what was in quarantine becomes reports, what was stored stays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from app.callbacks.decoding import DecodingThread, decode
from app.callbacks.tokens import CallbackTokens
from app.caller import EVERYTHING, Reach
from app.content import legible
from app.errors import GatewayError, NotFound
from app.storage import callbacks
from app.storage.callbacks import CallbackFilter
from app.storage.database import Database
from app.storage.rows import NewCallback
from app.storage.tables import CallbackRow
from app.storage.writer import Entry, Unstorable, Writer

_PAGE = 500
_LARGEST = 4 * 1024 * 1024
"""Bytes of a stored body without its content coding; new ones are stored without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay came to.

    Attributes:
        state: `stored` or `quarantined`, from now on.
        reports: How many reports the callback holds; those already stored are not stored twice.
        reason: Why it stays in quarantine.
    """

    id: UUID
    state: str
    reports: int = 0
    reason: str | None = None


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
        await self._writer.drained()
        async with self._database.session() as session:
            row = await callbacks.find(session, key, reach)
        if row is None:
            raise NotFound("There is no such callback.")
        return await self._replay(row)

    async def every(self, wanted: CallbackFilter) -> list[Replayed]:
        """Replay all callbacks that match, newest first."""
        await self._writer.drained()
        done: list[Replayed] = []
        while True:
            async with self._database.session() as session:
                rows: Sequence[CallbackRow] = await callbacks.page(session, wanted, _PAGE)
            done.extend([await self._replay(row) for row in rows])
            if len(rows) < _PAGE:
                return done
            wanted = replace(wanted, before=rows[-1].id)

    async def _replay(self, row: CallbackRow) -> Replayed:
        address = self._addresses.of_stored(row.provider, row.account, row.service)
        if address is None:
            return Replayed(id=row.id, state=row.state, reason="the provider reads no callbacks any more")
        callback = NewCallback(
            id=row.id.hex,
            received_at=row.received_at,
            provider=row.provider,
            service=row.service,
            state="stored",
            signature=row.signature,
            account=row.account,
        )
        try:
            body = legible(row.body, (), _LARGEST)
            reports = await self._thread.run(len(body), lambda: decode(address, body, callback))
        except GatewayError as error:
            return await self._settle(Replayed(id=row.id, state="quarantined", reason=error.detail))
        try:
            await self._writer.submit(Entry(reports=reports))
        except Unstorable as error:
            return await self._settle(Replayed(id=row.id, state="quarantined", reason=error.detail))
        return await self._settle(Replayed(id=row.id, state="stored", reports=len(reports)))

    async def _settle(self, replayed: Replayed) -> Replayed:
        async with self._database.session() as session:
            await callbacks.settle(session, replayed.id, state=replayed.state, reason=replayed.reason)
        return replayed
