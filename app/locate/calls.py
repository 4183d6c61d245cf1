"""Calls of providers for searches, and what becomes of their answers."""

import asyncio
from collections.abc import Mapping, Sequence

from app.errors import DeviceNotOwned, GatewayError, ProviderError, ProviderTimeout, TimeTooShort, UnableToLocate
from app.locate.answers import stated
from app.locate.fix_store import FixStore
from app.locate.known_fixes import KnownFixes
from app.locate.late_answers import LateAnswers
from app.locate.search import Found, Search
from app.model import Deadline, Located, NotLocated, ProviderName
from app.provider import Provider


class ProviderCalls:
    """Asks providers, and stores what they answer."""

    may_look_up = True

    def __init__(
        self, memory: KnownFixes, fixes: FixStore, late: LateAnswers, assumed: Mapping[ProviderName, int]
    ) -> None:
        """Wire it.

        Args:
            assumed: The level of confidence, percent, of providers that declare none and for which one is assumed.
        """
        self._memory = memory
        self._fixes = fixes
        self._late = late
        self._assumed = assumed

    async def ask(self, provider: Provider, group: list[Search], deadline: Deadline, started: float) -> None:
        """Ask the present candidate of some searches."""
        if self._late.is_expecting:
            group = await self._wait_for_late(provider, group, deadline, started)
        if deadline.left_s() <= 0:
            for search in group:
                error = TimeTooShort("The time was used up before this provider's turn.", provider=provider.name)
                search.note(error.outcome, error.detail, started=started, error=error)
            return
        replies = await _call(provider, group, deadline)
        for search, reply in zip(group, replies, strict=True):
            if isinstance(reply, Located):
                self._conclude(search, reply, provider, started)
            else:
                self._fail(search, reply, provider, started)
        refused = [
            search.query.device
            for search, reply in zip(group, replies, strict=True)
            if isinstance(reply, DeviceNotOwned)
        ]
        if refused:
            self._memory.forget(refused, provider.default_account)

    async def _wait_for_late(
        self, provider: Provider, group: list[Search], deadline: Deadline, started: float
    ) -> list[Search]:
        """Answer what a provider is being asked already; return those still to be asked."""
        found = await asyncio.gather(*(self._late.wait(search, provider, deadline) for search in group))
        for search, located in zip(group, found, strict=True):
            if located is not None:
                self._conclude(search, located, provider, started)
        return [search for search, located in zip(group, found, strict=True) if located is None]

    def _fail(self, search: Search, error: GatewayError, provider: Provider, started: float) -> None:
        if isinstance(error, UnableToLocate) and isinstance(error.obtained, Located | NotLocated):
            self._fixes.store(search.query.device, error.obtained, provider)
        if isinstance(error, ProviderTimeout):
            self._late.expect(search, error, provider)
        outcome = error.outcome if isinstance(error, ProviderError) else "unavailable"
        search.note(outcome, error.detail, started=started, error=error)

    def _conclude(self, search: Search, located: Located, provider: Provider, started: float) -> None:
        search.hints.extend(located.hints)
        report_id = self._fixes.store(search.query.device, located, provider)
        search.conclude(
            Found(
                fix=located.fix,
                accuracy=stated(search.query, located.fix, self._assumed),
                report_id=report_id,
                billed=located.billed,
                flags=located.flags,
                started=started,
            )
        )


async def _call(provider: Provider, group: Sequence[Search], deadline: Deadline) -> Sequence[Located | GatewayError]:
    if not group:
        return []
    assert provider.locator is not None
    request_id = group[0].request_id
    queries = [search.query for search in group]
    try:
        if len(queries) == 1:
            return [await provider.locator.locate(queries[0], request_id=request_id, deadline=deadline)]
        return await provider.locator.locate_many(queries, request_id=request_id, deadline=deadline)
    except GatewayError as error:
        return [error] * len(queries)
