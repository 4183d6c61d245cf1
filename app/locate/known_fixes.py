"""What the database knows already: who a device is, and where it was a moment ago."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from msgspec.structs import replace

from app.caller import Reach
from app.directory import DeviceDirectory
from app.errors import Overloaded, Unavailable
from app.locate.answers import stated, to_fix
from app.locate.search import Found, Search
from app.model import AccountName, Deadline, Device, ProviderName
from app.observability import metrics
from app.provider import Provider
from app.storage import aliases, positions
from app.storage.database import Database
from app.storage.rows import device_key
from app.storage.tables import ReportRow
from app.storage.writer import AliasPair, Entry, Writer

log = structlog.get_logger()

_ANY_TIME = datetime.min.replace(tzinfo=UTC)


class KnownFixes:
    """Completes devices from the alias book and the provider's device list, and answers from stored fixes."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        directory: DeviceDirectory,
        *,
        recent_s: int,
        assumed: Mapping[ProviderName, int],
    ) -> None:
        """Look things up.

        Args:
            directory: Asked for what the alias book lacks.
            recent_s: How old a stored fix may be if the caller does not state an age, seconds.
            assumed: The level of confidence, percent, of providers that declare none and for which one is assumed.
        """
        self._database = database
        self._writer = writer
        self._directory = directory
        self._recent_s = recent_s
        self._assumed = assumed

    async def complete(
        self, group: Sequence[Search], provider: Provider, deadline: Deadline, *, may_look_up: bool = True
    ) -> None:
        """Add the other identifier to devices of which one is known, as far as their callers' keys may see it.

        Args:
            provider: The present candidate.
            may_look_up: Whether its device list may be asked for what the alias book lacks.

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
        for (account, reach), searches in alike.items() if may_look_up else ():
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
        defaults = [default_account] if default_account else []
        asked = [search for search in group if self._max_age_s(search) > 0]
        now = self._database.clock.now()
        wanted = [_wanted(search, now - timedelta(seconds=self._max_age_s(search)), defaults) for search in asked]
        for search, found in await self._found(asked, wanted):
            metrics.STORED_ANSWERS.labels("store").inc()
            search.offer(replace(found, hints=("answered from a stored fix; send maxAge 0 for a current one",)))

    async def recall(self, group: Sequence[Search], defaults: Collection[AccountName]) -> None:
        """Answer with the newest stored position, of any age, those whose devices have one.

        Args:
            defaults: The accounts that providers use for questions that name none.
        """
        asked = [search for search in group if device_key(search.query.device)]
        now = self._database.clock.now()
        for search, found in await self._found(asked, [_wanted(search, _ANY_TIME, defaults) for search in asked]):
            metrics.STORED_ANSWERS.labels("last_known").inc()
            search.recall(found, now)

    async def newest(self, search: Search, defaults: Collection[AccountName]) -> Found | None:
        """Find the newest stored position of a search's device, of any age."""
        if not device_key(search.query.device):
            return None
        found = await self._found([search], [_wanted(search, _ANY_TIME, defaults)])
        return found[0][1] if found else None

    async def _found(self, asked: Sequence[Search], wanted: Sequence[positions.Wanted]) -> list[tuple[Search, Found]]:
        if not asked:
            return []
        try:
            async with self._database.reading() as session:
                rows = await positions.latest(session, wanted)
        except Unavailable:
            # Without the store the provider can still be asked; it costs at most what it would have cost anyway.
            return []
        return [
            (search, self._to_found(search, row)) for search, row in zip(asked, rows, strict=True) if row is not None
        ]

    def _to_found(self, search: Search, row: ReportRow) -> Found:
        fix = to_fix(row)
        return Found(fix=fix, accuracy=stated(search.query, fix, self._assumed), report_id=row.id.hex)

    def _max_age_s(self, search: Search) -> int:
        return self._recent_s if search.query.max_age_s is None else search.query.max_age_s


def _wanted(search: Search, since: datetime, defaults: Collection[AccountName]) -> positions.Wanted:
    device = search.query.device
    own: list[str] = [device.account] if device.account else sorted(defaults)
    # What was obtained for no account is for those who see all of them.
    seen = [*own, ""] if own else None
    if (reached := search.caller.reach.accounts) is not None:
        seen = own or sorted(reached)
    keys = [key for key in (device.id, f"mdn:{device.mdn}" if device.mdn else None) if key]
    return positions.Wanted(
        keys=keys or [device_key(device)], since=since, accounts=seen, provider=search.query.pinned or search.rival
    )


def _complete(searches: Sequence[Search], devices: Sequence[Device]) -> None:
    for search, device in zip(searches, devices, strict=True):
        search.query = replace(search.query, device=device)
