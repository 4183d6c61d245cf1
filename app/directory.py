"""Completes devices of which one identifier is known: from the alias book, else from the provider's device list."""

import asyncio
from collections.abc import Sequence

import structlog
from cachetools import TTLCache

from app.caller import Reach
from app.errors import ProviderError, Unavailable
from app.model import AccountName, Deadline, Device
from app.provider import Directory, Provider
from app.storage import aliases
from app.storage.database import Database

log = structlog.get_logger()

_MOST_LOOKUPS = 200
_LOOKUPS_AT_ONCE = 8
_LOOKUP_S = 10.0
_UNKNOWN_FOR_S = 60
_MOST_UNKNOWN = 10_000


class DeviceDirectory:
    """Asks the provider's own device list for what the alias book lacks, and teaches the alias book the answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unknown: TTLCache[tuple[str, str | None, str | None], bool] = TTLCache(_MOST_UNKNOWN, _UNKNOWN_FOR_S)

    async def complete(
        self, provider: Provider, account: AccountName, devices: Sequence[Device], reach: Reach, deadline: Deadline
    ) -> list[Device]:
        """Complete what lacks one of its identifiers; what cannot be completed, or not within reach, stays as it is.

        A provider that cannot be asked completes nothing; the provider that needs an identifier reports it as missing.
        """
        directory = provider.directory
        if directory is None or not provider.configured:
            return list(devices)
        lacking = [one for one in devices if self._is_worth_asking(account, one)][:_MOST_LOOKUPS]
        gate = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        within = Deadline.after(min(_LOOKUP_S, deadline.left_s()))

        async def find(device: Device) -> Device | None:
            async with gate:
                return await self._find(directory, account, device, within)

        answers = await asyncio.gather(*(find(device) for device in lacking))
        found = {id(asked): whole for asked, whole in zip(lacking, answers, strict=True) if whole is not None}
        await self._learn(account, list(found.values()))
        return [
            whole if (whole := found.get(id(device))) is not None and reach.has_completed(whole) else device
            for device in devices
        ]

    def _is_worth_asking(self, account: AccountName, device: Device) -> bool:
        is_lacking = (device.id is None) != (device.mdn is None)
        return is_lacking and (account, device.id, device.mdn) not in self._unknown

    async def _find(
        self, directory: Directory, account: AccountName, device: Device, deadline: Deadline
    ) -> Device | None:
        try:
            found = await directory.find(account, device, deadline=deadline)
        except ProviderError as error:
            log.warning("device list not available", provider=error.provider, code=error.code)
            return None
        if found is None:
            self._unknown[account, device.id, device.mdn] = True
        return found

    async def _learn(self, account: AccountName, found: Sequence[Device]) -> None:
        if not found:
            return
        try:
            async with self._database.transaction() as session:
                await aliases.learn(session, account, found, self._database.clock.now())
        except Unavailable as error:
            log.warning("device list not remembered", code=error.code)
