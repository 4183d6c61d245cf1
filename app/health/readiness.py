"""Whether new work should be sent to this process."""

from app.errors import Unavailable
from app.storage.database import Database, in_recovery
from app.storage.driver_errors import NOT_MIGRATED
from app.storage.migrate import is_current
from app.storage.writer import Writer

_LONGEST_WAIT_S = 5.0


class Readiness:
    """Looks at the database and the writer, and knows whether the server is about to stop."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._is_stopping = False

    def stop(self) -> None:
        """Refuse new work from now on, because the server is about to stop."""
        self._is_stopping = True

    async def check(self) -> None:
        """Return if new work can be done.

        Raises:
            Unavailable: The process is stopping, or its database cannot be reached, takes no changes or lags behind.
        """
        if self._is_stopping:
            raise Unavailable("The gateway is stopping.", retry_after_s=5)
        if self._writer.oldest_wait_s() > _LONGEST_WAIT_S:
            raise Unavailable("Callbacks wait too long for the database to store them.", retry_after_s=5)
        async with self._database.transaction() as session:
            if await in_recovery(session):
                raise Unavailable("The database server is a standby.", retry_after_s=5)
            migrated = await is_current(await session.connection())
        if not migrated:
            raise Unavailable(NOT_MIGRATED)
