"""Notices that another host has become the primary, while the former one still holds connections and never answers.

A machine that is gone, cut off or frozen closes no connection: statements on it would wait until their time is up.
"""

import asyncio
from contextlib import suppress

from app.storage.connections import Connector, in_recovery
from app.storage.driver_errors import UNUSABLE_HOST

_EVERY_S = 1.0
_ANSWERS_WITHIN_S = 1.0


class PrimaryWatch:
    """Watches the primary of a URL with several hosts."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._suspect: str | None = None

    async def follow(self) -> None:
        """Ask the present primary again and again, until it does not answer as one; then this is to be called again.

        Connections to one that did not are ended once another host is found to be the primary. Until then they
        are left alone: it may be slow, and its answers are still worth something.
        """
        try:
            connection = await self._connector.connect(command_timeout=_ANSWERS_WITHIN_S)
        except UNUSABLE_HOST:
            return
        address = self._connector.address_of(connection)
        if self._suspect is not None and self._suspect != address:
            self._connector.abandon(self._suspect)
        self._suspect = None
        try:
            with suppress(*UNUSABLE_HOST):
                while not await in_recovery(connection):  # noqa: ASYNC110 -- a server that hangs sends no event
                    await asyncio.sleep(_EVERY_S)
            self._suspect = address
        finally:
            connection.terminate()
