"""Transactions whose reports were stored before their session was known."""

import asyncio
from collections.abc import Iterable

_MOST_NOTED = 50_000


class UnclaimedTransactions:
    """Transaction ids on their way from the writer, which finds them, to `SessionClaims`, which settles them.

    What is more than can be noted is found by the sweep.
    """

    def __init__(self) -> None:
        self._noted: set[str] = set()
        self._wake = asyncio.Event()

    def pending(self) -> int:
        """Count the transactions that wait to be settled."""
        return len(self._noted)

    def note(self, transaction_ids: Iterable[str]) -> None:
        """Note transactions that belong to no known session; returns at once."""
        if len(self._noted) < _MOST_NOTED:
            self._noted.update(transaction_ids)
            self._wake.set()

    async def take(self) -> list[str]:
        """Wait until there are some, and take them all."""
        await self._wake.wait()
        self._wake.clear()
        taken, self._noted = list(self._noted), set()
        return taken
