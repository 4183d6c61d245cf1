"""Writes the audit trail through the shared commit, so that a row costs no round trip of its own."""

import structlog

from app.errors import Overloaded, Unavailable
from app.observability import metrics
from app.storage.audit import NewAudit
from app.storage.writer import Entry, Writer

log = structlog.get_logger()


class Journal:
    """Takes audit rows."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def note(self, row: NewAudit) -> None:
        """Hand a row over; it is committed within moments, and nobody waits for that.

        What cannot be written while the database is away is counted and logged, because an answer that is paid for
        must not be thrown away for it.
        """
        try:
            self._writer.submit(Entry(audit=(row,)))
        except (Overloaded, Unavailable) as error:
            self._miss(row, error)

    async def keep(self, row: NewAudit) -> None:
        """Wait until a row is committed.

        Raises:
            Unavailable, Overloaded: It cannot be.
        """
        await self._writer.submit(Entry(audit=(row,)))

    async def keep_if_possible(self, row: NewAudit) -> None:
        """Wait until a row about something that is done is committed; as `note`, where it cannot be."""
        try:
            await self.keep(row)
        except (Overloaded, Unavailable) as error:
            self._miss(row, error)

    @staticmethod
    def _miss(row: NewAudit, error: Overloaded | Unavailable) -> None:
        metrics.UNSTORED_AUDIT.inc()
        log.error("audit row not stored", action=row.action, key=row.key_id, code=error.code)
