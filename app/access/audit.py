"""The audit trail: reading it, and the log through which its rows are written; changes of keys commit their own.

Rows go through the shared commit of the writer, so that one costs no round trip of its own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Unpack

import structlog

from app.errors import GatewayError, Overloaded, Unavailable
from app.list_page import ListPage
from app.observability import metrics
from app.storage import audit_pages
from app.storage.audit import About, Action, Actor, AuditFilter, AuditRecord, NewAudit, new_row
from app.storage.database import Database
from app.storage.writer import Entry, Writer

log = structlog.get_logger()


@dataclass(slots=True)
class Deed:
    """The audit row of a block of work; the block may add what it learns.

    Attributes:
        outcome: Replaced by the code of the error, where the block ends with one.
    """

    outcome: str = "done"
    about: About = field(default_factory=About)


class AuditLog:
    """Writes audit rows."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def record(self, by: Actor, action: Action, outcome: str, **about: Unpack[About]) -> None:
        """Queue a row, to be committed within moments.

        What cannot be written while the database cannot be reached is counted and logged, because an answer that is
        paid for must not be thrown away for it.
        """
        row = new_row(by, action, outcome, **about)
        try:
            self._writer.submit(Entry(audit=(row,)))
        except (Overloaded, Unavailable) as error:
            _miss(row, error)

    async def commit(self, by: Actor, action: Action, outcome: str, **about: Unpack[About]) -> None:
        """Commit a row before what it is about is done.

        Raises:
            Unavailable, Overloaded: It cannot be committed.
        """
        await self._writer.submit(Entry(audit=(new_row(by, action, outcome, **about),)))

    @asynccontextmanager
    async def deed(self, by: Actor, action: Action, **about: Unpack[About]) -> AsyncIterator[Deed]:
        """Commit a row about the block when it ends, before its caller is answered.

        What is done is done: where the row cannot be committed, that is counted and logged.
        """
        deed = Deed(about=about)
        try:
            yield deed
        except BaseException as error:
            deed.outcome = error.code if isinstance(error, GatewayError) else GatewayError.code
            raise
        finally:
            row = new_row(by, action, deed.outcome, **deed.about)
            try:
                await self._writer.submit(Entry(audit=(row,)))
            except (Overloaded, Unavailable) as error:
                _miss(row, error)


class AuditTrail:
    """Reads audit rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: AuditFilter, *, limit: int) -> ListPage[AuditRecord]:
        """List the rows that match, newest first."""
        return await audit_pages.page(self._database, wanted, limit)


def _miss(row: NewAudit, error: Overloaded | Unavailable) -> None:
    metrics.UNSTORED_AUDIT.inc()
    log.error("audit row not stored", action=row.action, key=row.key_id, code=error.code)
