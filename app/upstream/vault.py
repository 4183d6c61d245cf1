"""A vault without a database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.model import ProviderName
from app.provider import Slot


class InMemoryVault:
    """A vault for one process alone: for tests, and for providers built without a database."""

    def __init__(self) -> None:
        self._values: dict[tuple[ProviderName, str], bytes] = {}
        self._locks: dict[tuple[ProviderName, str], asyncio.Lock] = {}

    async def read(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> bytes | None:
        """Read without locking."""
        return self._values.get((provider, name))

    @asynccontextmanager
    async def locked(self, provider: ProviderName, name: str, *, sealed_with: bytes) -> AsyncIterator[Slot]:
        """Hold the place alone while the block runs."""
        key = (provider, name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            yield _InMemorySlot(self._values, key)


class _InMemorySlot:
    def __init__(self, values: dict[tuple[ProviderName, str], bytes], key: tuple[ProviderName, str]) -> None:
        self._values = values
        self._key = key
        self.value = values.get(key)

    async def put(self, value: bytes | None) -> None:
        self.value = value
        if value is None:
            self._values.pop(self._key, None)
        else:
            self._values[self._key] = value
