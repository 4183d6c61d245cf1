"""Erase a device: stop what still reports on it, then remove everything that is kept of it."""

import asyncio

import structlog

from app.errors import GatewayError, IncompatibleState
from app.locate import Locate
from app.periodic import Periodic
from app.storage import erasure
from app.storage.connections import Connection
from app.storage.database import Database
from app.storage.erasure import OnStep, Traces
from app.storage.writer import Writer

log = structlog.get_logger()

_LAST_WORD_S = 10
_LOOK_EVERY_S = 0.2


class Erase:
    """Removes all traces of one device from the database and from this process."""

    def __init__(self, database: Database, writer: Writer, periodic: Periodic, locate: Locate) -> None:
        self._database = database
        self._writer = writer
        self._periodic = periodic
        self._locate = locate
        self._last_word_s: float = _LAST_WORD_S

    async def device(
        self, identifier: str, *, known_as: str, force: bool = False, on_step: OnStep = lambda _done, _total: None
    ) -> dict[str, int]:
        """Erase the device with this IMEI, MEID, ESN, MDN or name; return how much that was, by kind.

        What its provider sends afterwards is new, and stored; so sessions in which it reports are stopped first.

        Args:
            known_as: What stands in its place in the audit trail.
            force: Erase even if a session cannot be stopped.
            on_step: Called with how many steps of the long part are done, and how many there are.

        Raises:
            IncompatibleState: It is in a session that cannot be stopped, and would report on.
            Unavailable: The database is away; erasing again does the rest.
        """
        async with self._database.connection(after_writes=True) as connection:
            traces = await erasure.traces_of(connection, identifier)
            await self._stop(connection, traces, force=force)
            await self._database.pending.settled()
            # What was answered before is also remembered here and there in this process.
            self._writer.forget_aliases()
            self._locate.forget()
            return await erasure.erase(connection, traces, known_as=known_as, on_step=on_step)

    async def _stop(self, connection: Connection, traces: Traces, *, force: bool) -> None:
        at_work = await erasure.sessions_at_work(connection, traces)
        failures = sum([await self._fails_to_stop(session, mdn) for session, mdn in at_work])
        if failures and not force:
            raise IncompatibleState(
                f"The device is in {failures} sessions that could not be stopped for it and would report on; "
                "try again, or erase it nevertheless with ?force=true."
            )
        if len(at_work) > failures:
            await self._hear_last_word(connection, traces)

    async def _fails_to_stop(self, session: str, mdn: str | None) -> bool:
        try:
            return mdn is None or bool((await self._periodic.stop(session, [mdn])).failures)
        except GatewayError as error:
            log.warning("session not stopped for an erasure", code=error.code)
            return True

    async def _hear_last_word(self, connection: Connection, traces: Traces) -> None:
        """Wait a little for what the provider posts about the stop, which would bring the device back."""
        for _ in range(round(self._last_word_s / _LOOK_EVERY_S)):
            if not await erasure.is_reporting(connection, traces):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
