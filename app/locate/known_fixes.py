"""What the database knows already: who a device is, and where it was a moment ago."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from msgspec.structs import replace

from app.caller import Reach
from app.directory import DeviceDirectory
from app.errors import Overloaded, Unavailable
from app.locate.answers import to_fix
from app.locate.search import Search
from app.model import AccountName, Deadline, Device
from app.observability import metrics
from app.provider import Provider
from app.storage import aliases, positions
from app.storage.database import Database
from app.storage.rows import device_key
from app.storage.writer import AliasPair, Entry, Writer

log = structlog.get_logger()


class KnownFixes:
    """Completes devices from the alias book and the provider's device list, and answers from stored fixes."""

    def __init__(self, database: Database, writer: Writer, directory: DeviceDirectory, *, recent_s: int) -> None:
        """Look things up.

        Args:
            directory: Asked for what the alias book lacks.
            recent_s: How old a stored fix may be when the caller does not say, seconds.
        """
        self._database = database
        self._writer = writer
        self._directory = directory
        self._recent_s = recent_s

    async def complete(self, group: Sequence[Search], provider: Provider, deadline: Deadline) -> None:
        """Give devices of which one identifier is known the other one, as far as their callers' keys may see it.

        Args:
            provider: The present candidate.

        Raises:
            Unavailable: The database cannot be asked.
        """
        alike: dict[tuple[AccountName, Reach], list[Search]] = {}
        for search in group:
            if (account := search.query.device.account or provider.default_account) is not None:
                alike.setdefault((account, search.caller.reach), []).append(search)
        if not alike:
            return
        async with self._database.reading() as session:
            for (account, reach), searches in alike.items():
                devices = [search.query.device for search in searches]
                _complete(searches, await aliases.completed(session, account, devices, reach))
        for (account, reach), searches in alike.items():
            lacking = [search for search in searches if not (search.query.device.id and search.query.device.mdn)]
            devices = [search.query.device for search in lacking]
            _complete(lacking, await self._directory.complete(provider, account, devices, reach, deadline))

    def forget(self, refused: Sequence[Device], default_account: AccountName | None) -> None:
        """Forget pairs of identifiers that the provider refuses to locate, as far as the alias book holds them."""
        pairs = [
            AliasPair(account, device.id, device.mdn)
            for device in refused
            if (account := device.account or default_account) and device.id and device.mdn
        ]
        try:
            self._writer.submit(Entry(refused=tuple(pairs)))
        except (Overloaded, Unavailable) as error:
            log.warning("refused identifiers not forgotten", code=error.code)

    async def answer(self, group: Sequence[Search], default_account: AccountName | None) -> None:
        """Answer those for whom a fix is stored that is fresh enough.

        Args:
            default_account: What the present candidate uses for questions that name no account.
        """
        asked = [(search, wanted) for search in group if (wanted := self._wanted(search, default_account)) is not None]
        if not asked:
            return
        try:
            async with self._database.reading() as session:
                rows = await positions.latest(session, [wanted for _, wanted in asked])
        except Unavailable:
            # Without the store the provider can still be asked; it costs at most what it would have cost anyway.
            return
        for (search, _), row in zip(asked, rows, strict=True):
            if row is not None:
                metrics.STORED_ANSWERS.labels("store").inc()
                search.hints.append("answered from a stored fix; send maxAge 0 for a current one")
                search.conclude(to_fix(row), report_id=row.id.hex)

    def _wanted(self, search: Search, default_account: AccountName | None) -> positions.Wanted | None:
        query = search.query
        max_age_s = self._recent_s if query.max_age_s is None else query.max_age_s
        if max_age_s <= 0:
            return None
        device = query.device
        account = device.account or default_account
        # What was obtained for no account is for those who see all of them.
        seen = [account, ""] if account else None
        if (own := search.caller.reach.accounts) is not None:
            seen = [account] if account else sorted(own)
        keys = [key for key in (device.id, f"mdn:{device.mdn}" if device.mdn else None) if key]
        return positions.Wanted(
            keys=keys or [device_key(device)],
            since=self._database.clock.now() - timedelta(seconds=max_age_s),
            accounts=seen,
            provider=query.pinned,
        )


def _complete(searches: Sequence[Search], devices: Sequence[Device]) -> None:
    for search, device in zip(searches, devices, strict=True):
        search.query = replace(search.query, device=device)
