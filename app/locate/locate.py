"""The use case of `/locate`: asks the candidates one after the other, and stores the answers."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from app import policy
from app.access import Actor, AuditLog, meter_for
from app.access.permissions import permitted_query
from app.caller import ANYONE, Caller
from app.directory import DeviceDirectory
from app.errors import (
    DeviceNotOwned,
    GatewayError,
    ProviderError,
    ProviderTimeout,
    TimeTooShort,
    UnableToLocate,
    Unavailable,
    UnusableMeasurements,
)
from app.locate.answers import LocateResult, record_answer, stated
from app.locate.fix_store import FixStore
from app.locate.known_fixes import KnownFixes
from app.locate.late_answers import LateAnswers
from app.locate.search import Found, Search, pass_over, unidentified, unknown_name
from app.locate.single_flight import SingleFlight
from app.model import Deadline, Located, LocationQuery, NotLocated, ProviderName
from app.policy import Candidate
from app.provider import Assessment, Locator, Provider, metered
from app.storage.database import Database
from app.storage.writer import Writer


class Locate:
    """Answers location queries; identical questions in flight share one search."""

    def __init__(
        self,
        providers: Sequence[Provider],
        database: Database,
        writer: Writer,
        *,
        recent_s: int = 300,
        reuse_s: float = 0,
        late_s: float = 20,
    ) -> None:
        """Wire the use case.

        Args:
            providers: In the order of preference; those that cannot locate are ignored.
            recent_s: How old a stored fix may be if the caller does not state an age, seconds.
            reuse_s: How long an answer may serve identical questions, seconds; 0 turns that off.
            late_s: How long calls that are paid for are waited for when the gateway stops, seconds.
        """
        self._providers = {provider.name: provider for provider in providers}
        self._locators = {provider.name: provider.locator for provider in providers if provider.locator is not None}
        self._database = database
        self._writer = writer
        self._defaults = {provider.default_account for provider in providers if provider.default_account is not None}
        self._assumed = {
            provider.name: provider.assumed_confidence_pct
            for provider in providers
            if provider.assumed_confidence_pct is not None
        }
        self._memory = KnownFixes(database, writer, DeviceDirectory(database), recent_s=recent_s, assumed=self._assumed)
        self._sharing = SingleFlight(reuse_s)
        self._audit = AuditLog(writer)
        self._fixes = FixStore(writer, database.clock)
        self._late = LateAnswers(self._fixes, self._audit, database.clock, patience_s=late_s)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Answer while the block lasts; at its end calls that are paid for are waited for."""
        return self._late.running()

    async def one(
        self, query: LocationQuery, *, request_id: str, timeout_s: float, caller: Caller = ANYONE
    ) -> LocateResult:
        """Answer one question within `timeout_s` seconds, and leave an audit row.

        Raises:
            RequestError: The question cannot be answered as it was asked.
            PermissionDenied: The caller may not ask about this device or account.
            ProviderError: No provider located the device; `attempts` lists those that were asked.
        """
        return await self._late.sheltered(self._one(query, request_id, timeout_s, caller))

    async def _one(self, query: LocationQuery, request_id: str, timeout_s: float, caller: Caller) -> LocateResult:
        by = Actor(key_id=caller.key_id, request_id=request_id)
        try:
            query = permitted_query(query, caller.reach, self._defaults)
        except GatewayError as error:
            record_answer(self._audit, by, query, error)
            raise
        outcome, is_own = await self._sharing.answer(
            (query, caller.shares_with), timeout_s, lambda: self._search(query, request_id, timeout_s, caller)
        )
        record_answer(self._audit, by, query, outcome, is_own=is_own)
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def many(
        self, queries: Sequence[LocationQuery], *, request_id: str, timeout_s: float, caller: Caller = ANYONE
    ) -> list[LocateResult | GatewayError]:
        """Answer many questions within `timeout_s` seconds, in the order asked; equal ones are asked once.

        Each of them leaves an audit row.
        """
        return await self._late.sheltered(self._many(queries, request_id, timeout_s, caller))

    async def _many(
        self, queries: Sequence[LocationQuery], request_id: str, timeout_s: float, caller: Caller
    ) -> list[LocateResult | GatewayError]:
        outcomes: dict[LocationQuery, LocateResult | GatewayError] = {}
        searches: dict[LocationQuery, Search] = {}
        for query in dict.fromkeys(queries):
            try:
                searches[query] = self._begin(permitted_query(query, caller.reach, self._defaults), request_id, caller)
            except GatewayError as error:
                outcomes[query] = error
        with metered(meter_for(caller, self._database)):
            await self._advance(list(searches.values()), Deadline.after(timeout_s))
        await self._recall(list(searches.values()))
        for query, search in searches.items():
            outcomes[query] = search.outcome()
        by, recorded = Actor(key_id=caller.key_id, request_id=request_id), set[LocationQuery]()
        for query in queries:
            record_answer(self._audit, by, query, outcomes[query], is_own=query not in recorded)
            recorded.add(query)
        return [outcomes[query] for query in queries]

    def forget(self) -> None:
        """Forget all answers that are kept for identical questions."""
        self._sharing.forget()

    async def _search(self, query: LocationQuery, request_id: str, timeout_s: float, caller: Caller) -> LocateResult:
        search = self._begin(query, request_id, caller)
        with metered(meter_for(caller, self._database)):
            await self._advance([search], Deadline.after(timeout_s))
        await self._recall([search])
        outcome = search.outcome()
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def _recall(self, searches: Sequence[Search]) -> None:
        """Answer failed questions with the last known position, where the caller asked for that."""
        failed = [search for search in searches if search.query.on_failure == "last_known" and search.is_recoverable]
        if failed:
            await self._memory.recall(failed, self._defaults)

    def _begin(self, query: LocationQuery, request_id: str, caller: Caller) -> Search:
        known = [
            Candidate(
                name=name,
                locates_by=locator.locates_by,
                configured=self._providers[name].configured,
                assessment=self._assess_measurements(locator, query),
            )
            for name, locator in self._locators.items()
        ]
        search = Search(query=query, caller=caller, request_id=request_id)
        try:
            search.left = policy.candidates(query, known)
        except UnusableMeasurements as error:
            if query.on_failure == "error":
                raise
            search.error = error
        for candidate in known:
            search.hints.extend(candidate.assessment.hints)
        return search

    @staticmethod
    def _assess_measurements(locator: Locator, query: LocationQuery) -> Assessment:
        if locator.locates_by == "measurements" and query.evidence is not None:
            return locator.assess(query)
        return policy.NOT_ASSESSED

    async def _advance(self, searches: Sequence[Search], deadline: Deadline) -> None:
        """Take every search to its end: all candidates at the same time, or one round of them after the other."""
        parts = {id(search): search.split() for search in searches if search.query.strategy == "best"}
        if not parts:
            return await self._advance_in_order(searches, deadline)
        ordered = [search for search in searches if id(search) not in parts]
        await self._advance_in_order([*ordered, *itertools.chain(*parts.values())], deadline)
        for search in searches:
            if id(search) in parts:
                search.join(parts[id(search)])
        return None

    async def _advance_in_order(self, searches: Sequence[Search], deadline: Deadline) -> None:
        while waiting := [search for search in searches if not search.is_over]:
            rounds: dict[ProviderName, list[Search]] = {}
            for search in waiting:
                rounds.setdefault(search.left[0].name, []).append(search)
            if len(rounds) == 1:
                for name, group in rounds.items():
                    await self._ask(name, group, deadline)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for name, group in rounds.items():
                        tasks.create_task(self._ask(name, group, deadline))

    async def _ask(self, name: ProviderName, group: list[Search], deadline: Deadline) -> None:
        locator = self._locators[name]
        started = time.perf_counter()
        if locator.locates_by == "device":
            group = await self._prepare_devices(name, group, started, deadline)
        if not self._providers[name].configured:
            pass_over(name, group, started)
            return
        if self._late.is_expecting:
            group = await self._wait_for_late(name, group, deadline, started)
        if deadline.left_s() <= 0:
            for search in group:
                error = TimeTooShort("The time was used up before this provider's turn.", provider=name)
                search.note(error.outcome, error.detail, started=started, error=error)
            return
        replies = await self._call(name, group, deadline)
        for search, reply in zip(group, replies, strict=True):
            if isinstance(reply, Located):
                self._conclude(search, reply, started)
            else:
                self._fail(search, reply, self._providers[name], started)
        refused = [
            search.query.device
            for search, reply in zip(group, replies, strict=True)
            if isinstance(reply, DeviceNotOwned)
        ]
        if refused:
            self._memory.forget(refused, self._providers[name].default_account)

    async def _wait_for_late(
        self, name: ProviderName, group: list[Search], deadline: Deadline, started: float
    ) -> list[Search]:
        """Answer what a provider is being asked already; return those still to be asked."""
        provider = self._providers[name]
        found = await asyncio.gather(*(self._late.wait(search, provider, deadline) for search in group))
        for search, located in zip(group, found, strict=True):
            if located is not None:
                self._conclude(search, located, started)
        return [search for search, located in zip(group, found, strict=True) if located is None]

    async def _call(
        self, name: ProviderName, group: Sequence[Search], deadline: Deadline
    ) -> Sequence[Located | GatewayError]:
        if not group:
            return []
        locator = self._locators[name]
        request_id = group[0].request_id
        queries = [search.query for search in group]
        try:
            if len(queries) == 1:
                return [await locator.locate(queries[0], request_id=request_id, deadline=deadline)]
            return await locator.locate_many(queries, request_id=request_id, deadline=deadline)
        except GatewayError as error:
            return [error] * len(queries)

    def _fail(self, search: Search, error: GatewayError, provider: Provider, started: float) -> None:
        if isinstance(error, UnableToLocate) and isinstance(error.obtained, Located | NotLocated):
            self._fixes.store(search.query.device, error.obtained, provider)
        if isinstance(error, ProviderTimeout):
            self._late.expect(search, error, provider)
        outcome = error.outcome if isinstance(error, ProviderError) else "unavailable"
        search.note(outcome, error.detail, started=started, error=error)

    def _conclude(self, search: Search, located: Located, started: float) -> None:
        search.hints.extend(located.hints)
        report_id = self._fixes.store(search.query.device, located, self._providers[located.fix.provider])
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

    async def _prepare_devices(
        self, name: ProviderName, group: list[Search], started: float, deadline: Deadline
    ) -> list[Search]:
        """Complete the devices from the alias book and answer from stored fixes; return those still to be asked."""
        locator = self._locators[name]
        lacking = [search for search in group if locator.assess(search.query).missing_identifier]
        if lacking:
            try:
                await self._memory.complete(lacking, self._providers[name], deadline)
            except Unavailable as error:
                for search in lacking:
                    search.note("unavailable", error.detail, started=started, error=error)
                group = [search for search in group if search.error is not error]
        await self._memory.answer(group, self._providers[name].default_account)
        remaining = []
        for search in group:
            if search.answer is not None:
                continue
            assessment = locator.assess(search.query)
            search.hints.extend(assessment.hints)
            is_identified = policy.is_identified(search.query.device)
            if assessment.usable or (is_identified and not self._providers[name].configured):
                remaining.append(search)
            else:
                missing = unidentified(assessment) if is_identified else unknown_name()
                search.note("skipped", missing.detail, started=started, error=missing)
        return remaining
