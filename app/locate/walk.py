"""The way of searches through their candidates, whether providers are really asked or only would be."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from app import policy
from app.errors import Unavailable, UnusableMeasurements
from app.locate.known_fixes import KnownFixes
from app.locate.search import Search, pass_over, unidentified, unknown_name
from app.model import Deadline, LocationQuery, ProviderName
from app.policy import Candidate
from app.provider import Assessment, Locator, Provider

SearchT = TypeVar("SearchT", bound=Search)


class Calls(Protocol):
    """Asks providers, or finds out what asking them would come to."""

    @property
    def may_look_up(self) -> bool:
        """Whether a provider's device list may be asked for a missing identifier."""

    async def ask(self, provider: Provider, group: list[Search], deadline: Deadline, started: float) -> None:
        """Ask the present candidate of some searches, which is configured, and note what comes of it."""


class Walk:
    """Takes searches through their candidates."""

    def __init__(self, providers: Mapping[ProviderName, Provider], memory: KnownFixes) -> None:
        """Wire it.

        Args:
            providers: In the order of preference.
        """
        self._providers = providers
        self._locators = {name: one.locator for name, one in providers.items() if one.locator is not None}
        self._memory = memory

    def begin(self, search: SearchT) -> SearchT:
        """Find the candidates of a new search.

        Raises:
            RequestError: There are none.
        """
        query = search.query
        known = self.known(query)
        for candidate in known:
            search.hints.extend(candidate.assessment.hints)
        try:
            search.left = policy.candidates(query, known)
        except UnusableMeasurements as error:
            if query.on_failure == "error":
                raise
            search.error = error
        return search

    def known(self, query: LocationQuery) -> list[Candidate]:
        """List the providers that locate anything, with what they think of the measurements."""
        return [
            Candidate(
                name=name,
                locates_by=locator.locates_by,
                configured=self._providers[name].configured,
                assessment=_assess_measurements(locator, query),
            )
            for name, locator in self._locators.items()
        ]

    async def advance(self, searches: Sequence[Search], deadline: Deadline, calls: Calls) -> None:
        """Take every search to its end: all candidates at the same time, or one round of them after the other."""
        parts = {id(search): search.split() for search in searches if search.query.strategy == "best"}
        if not parts:
            return await self._advance_in_order(searches, deadline, calls)
        ordered = [search for search in searches if id(search) not in parts]
        await self._advance_in_order([*ordered, *itertools.chain(*parts.values())], deadline, calls)
        for search in searches:
            if id(search) in parts:
                search.join(parts[id(search)])
        return None

    async def _advance_in_order(self, searches: Sequence[Search], deadline: Deadline, calls: Calls) -> None:
        while waiting := [search for search in searches if not search.is_over]:
            rounds: dict[ProviderName, list[Search]] = {}
            for search in waiting:
                rounds.setdefault(search.left[0].name, []).append(search)
            if len(rounds) == 1:
                for name, group in rounds.items():
                    await self._ask(name, group, deadline, calls)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for name, group in rounds.items():
                        tasks.create_task(self._ask(name, group, deadline, calls))

    async def _ask(self, name: ProviderName, group: list[Search], deadline: Deadline, calls: Calls) -> None:
        started = time.perf_counter()
        provider = self._providers[name]
        if self._locators[name].locates_by == "device":
            group = await self._prepare_devices(name, group, started, deadline, calls)
        if not provider.configured:
            pass_over(name, group, started)
        elif group:
            await calls.ask(provider, group, deadline, started)

    async def _prepare_devices(
        self, name: ProviderName, group: list[Search], started: float, deadline: Deadline, calls: Calls
    ) -> list[Search]:
        """Complete the devices from the alias book and answer from stored fixes; return those still to be asked."""
        locator, provider = self._locators[name], self._providers[name]
        lacking = [search for search in group if locator.assess(search.query).missing_identifier]
        if lacking:
            try:
                await self._memory.complete(lacking, provider, deadline, may_look_up=calls.may_look_up)
            except Unavailable as error:
                for search in lacking:
                    search.note("unavailable", error.detail, started=started, error=error)
                group = [search for search in group if search.error is not error]
        await self._memory.answer(group, provider.default_account)
        remaining = []
        for search in group:
            if search.answer is not None:
                continue
            assessment = locator.assess(search.query)
            search.hints.extend(assessment.hints)
            is_identified = policy.is_identified(search.query.device)
            is_to_be_looked_up = bool(
                assessment.missing_identifier and provider.directory is not None and not calls.may_look_up
            )
            if assessment.usable or is_to_be_looked_up or (is_identified and not provider.configured):
                remaining.append(search)
            else:
                missing = unidentified(assessment) if is_identified else unknown_name()
                search.note("skipped", missing.detail, started=started, error=missing)
        return remaining


def _assess_measurements(locator: Locator, query: LocationQuery) -> Assessment:
    if locator.locates_by == "measurements" and query.evidence is not None:
        return locator.assess(query)
    return policy.NOT_ASSESSED
