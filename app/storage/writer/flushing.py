"""Making hasty commits durable: a connection that only waits for the disk, while the next batch is stored."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from app.storage.database import Connection
from app.storage.writer.statements import FLUSH

log = structlog.get_logger()


class Witness:
    """A connection that was open before something was committed: if it still answers, no crash came between."""

    def __init__(self, connection: Connection, *, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    @property
    def is_alive(self) -> bool:
        """Whether the connection is open, as far as anybody knows."""
        return not self._connection.is_closed()

    async def flush(self) -> bool:
        """Wait until everything committed before is durable; False if that is not known."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.execute(FLUSH)
        except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait must not do so for ever
            log.warning("flush failed", error=type(error).__name__)
            self.dismiss()
            return False
        return True

    def dismiss(self) -> None:
        """Close the connection."""
        self._connection.terminate()


async def call_witness(connect: Callable[[], Awaitable[Connection]], *, timeout_s: float) -> Witness | None:
    """Open a connection for flushes; None if the database has none to give."""
    try:
        async with asyncio.timeout(timeout_s):
            return Witness(await connect(), timeout_s=timeout_s)
    except Exception as error:  # noqa: BLE001 -- whatever it is, batches can do without
        log.warning("no connection for flushes", error=type(error).__name__)
        return None
