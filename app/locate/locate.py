"""The use case: who is asked, one after the other, and what is kept of the answers."""

import asyncio
import time
from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from app import policy
from app.access import meter_for
from app.access.permissions import permitted_query
from app.caller import ANYONE, Caller
from app.directory import DeviceDirectory
from app.errors import (
    DeviceNotOwned,
    GatewayError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    UnableToLocate,
    Unavailable,
)
from app.locate.answers import Answer, told
from app.locate.known_fixes import KnownFixes
from app.locate.search import Search, pass_over, unidentified
from app.locate.single_flight import SingleFlight
from app.model import Deadline, Device, Located, LocationQuery, ProviderName, Report
from app.observability import metrics
from app.policy import Candidate
from app.provider import Assessment, Locator, Provider, metered
from app.storage.database import Database
from app.storage.journal import Journal
from app.storage.rows import device_key, milliseconds, to_row
from app.storage.writer import Entry, Writer

log = structlog.get_logger()


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
    ) -> None:
        """Wire the use case.

        Args:
            providers: In the order of preference; those that cannot locate are ignored.
            recent_s: How old a stored fix may be when the caller does not say, seconds.
            reuse_s: How long an answer may serve identical questions, seconds; 0 turns that off.
        """
        self._providers = {provider.name: provider for provider in providers}
        self._locators = {provider.name: provider.locator for provider in providers if provider.locator is not None}
        self._database = database
        self._writer = writer
        self._defaults = {provider.default_account for provider in providers if provider.default_account is not None}
        self._memory = KnownFixes(database, writer, DeviceDirectory(database), recent_s=recent_s)
        self._sharing = SingleFlight(reuse_s)
        self._journal = Journal(writer)

    async def one(self, query: LocationQuery, *, request_id: str, timeout_s: float, caller: Caller = ANYONE) -> Answer:
        """Answer one question within `timeout_s` seconds, and leave an audit row.

        Raises:
            RequestError: The question cannot be answered as it was asked.
            PermissionDenied: The caller may not ask about this device or account.
            ProviderError: Nobody could say where the device is; `attempts` tells who was asked.
        """
        try:
            query = permitted_query(query, caller.reach, self._defaults)
            answer = await self._sharing.answer(
                (query, caller.shares_with), timeout_s, lambda: self._search(query, request_id, timeout_s, caller)
            )
        except GatewayError as error:
            self._journal.note(told(query, error, caller, request_id))
            raise
        self._journal.note(told(query, answer, caller, request_id))
        return answer

    async def many(
        self, queries: Sequence[LocationQuery], *, request_id: str, timeout_s: float, caller: Caller = ANYONE
    ) -> list[Answer | GatewayError]:
        """Answer many questions within `timeout_s` seconds, in the order asked; equal ones are asked once.

        Each of them leaves an audit row.
        """
        outcomes: dict[LocationQuery, Answer | GatewayError] = {}
        searches: dict[LocationQuery, Search] = {}
        for query in dict.fromkeys(queries):
            try:
                searches[query] = self._begin(permitted_query(query, caller.reach, self._defaults), caller)
            except GatewayError as error:
                outcomes[query] = error
        with metered(meter_for(caller, self._database)):
            await self._advance(list(searches.values()), request_id, Deadline.after(timeout_s))
        for query, search in searches.items():
            outcomes[query] = search.answer or search.failure()
        for query in queries:
            self._journal.note(told(query, outcomes[query], caller, request_id))
        return [outcomes[query] for query in queries]

    def forget(self) -> None:
        """Forget all answers that are kept for identical questions."""
        self._sharing.forget()

    async def _search(self, query: LocationQuery, request_id: str, timeout_s: float, caller: Caller) -> Answer:
        search = self._begin(query, caller)
        with metered(meter_for(caller, self._database)):
            await self._advance([search], request_id, Deadline.after(timeout_s))
        if search.answer is None:
            raise search.failure()
        return search.answer

    def _begin(self, query: LocationQuery, caller: Caller) -> Search:
        known = [
            Candidate(
                name=name,
                locates_by=locator.locates_by,
                configured=self._providers[name].configured,
                assessment=self._assess_measurements(locator, query),
            )
            for name, locator in self._locators.items()
        ]
        search = Search(query=query, caller=caller, left=policy.candidates(query, known))
        for candidate in known:
            search.hints.extend(candidate.assessment.hints)
        return search

    @staticmethod
    def _assess_measurements(locator: Locator, query: LocationQuery) -> Assessment:
        if locator.locates_by == "measurements" and query.evidence is not None:
            return locator.assess(query)
        return policy.NOT_ASSESSED

    async def _advance(self, searches: Sequence[Search], request_id: str, deadline: Deadline) -> None:
        """Take every search to its end, one round of candidates at a time."""
        while waiting := [search for search in searches if not search.is_over]:
            rounds: dict[ProviderName, list[Search]] = {}
            for search in waiting:
                rounds.setdefault(search.left[0].name, []).append(search)
            if len(rounds) == 1:
                for name, group in rounds.items():
                    await self._ask(name, group, request_id, deadline)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for name, group in rounds.items():
                        tasks.create_task(self._ask(name, group, request_id, deadline))

    async def _ask(self, name: ProviderName, group: list[Search], request_id: str, deadline: Deadline) -> None:
        locator = self._locators[name]
        started = time.perf_counter()
        if locator.locates_by == "device":
            group = await self._prepare_devices(name, group, started, deadline)
        if not self._providers[name].configured:
            pass_over(name, group, started)
            return
        if deadline.left_s() <= 0:
            for search in group:
                late = ProviderTimeout("The time was used up before this provider's turn.", provider=name)
                search.note("skipped", late.detail, started=started, error=late)
            return
        replies = await self._call(name, [search.query for search in group], request_id, deadline)
        for search, reply in zip(group, replies, strict=True):
            if isinstance(reply, Located):
                self._conclude(search, reply, started)
            else:
                outcome = reply.outcome if isinstance(reply, ProviderError) else "unavailable"
                if isinstance(reply, UnableToLocate) and isinstance(reply.obtained, Located):
                    self._store(search.query.device, reply.obtained, self._providers[name])
                search.note(outcome, reply.detail, started=started, error=reply)
        refused = [
            search.query.device
            for search, reply in zip(group, replies, strict=True)
            if isinstance(reply, DeviceNotOwned)
        ]
        if refused:
            self._memory.forget(refused, self._providers[name].default_account)

    async def _call(
        self, name: ProviderName, queries: Sequence[LocationQuery], request_id: str, deadline: Deadline
    ) -> Sequence[Located | GatewayError]:
        if not queries:
            return []
        locator = self._locators[name]
        try:
            if len(queries) == 1:
                return [await locator.locate(queries[0], request_id=request_id, deadline=deadline)]
            return await locator.locate_many(queries, request_id=request_id, deadline=deadline)
        except GatewayError as error:
            return [error] * len(queries)

    def _conclude(self, search: Search, located: Located, started: float) -> None:
        search.note("located", None, started=started)
        search.hints.extend(located.hints)
        report_id = self._store(search.query.device, located, self._providers[located.fix.provider])
        search.conclude(located.fix, report_id=report_id, billed=located.billed)

    def _store(self, device: Device, located: Located, provider: Provider) -> str:
        """Hand the fix to the writer; the caller's answer does not wait for the commit, later readers do."""
        fix = located.fix
        # What locates by device has held the identifiers against each other; beside measurements they are the caller's.
        is_vouched = provider.locator is not None and provider.locator.locates_by == "device"
        if device.id is not None and not is_vouched:
            device = replace(device, mdn=None)
        account = device.account or provider.default_account
        key = device_key(device)
        content = (
            f"fix|{fix.provider}|{account}|{key}|{milliseconds(fix.fixed_at)}|{fix.latitude_deg}|{fix.longitude_deg}"
        )
        report = Report(
            provider=fix.provider,
            type="location",
            status="located",
            content_key=content,
            account=account,
            device=device,
            fix=fix,
            error=located.error,
            said_at=fix.fixed_at,
            flags=located.flags,
        )
        row = to_row(report, received_at=self._database.clock.now(), raw=located.raw, is_vouched=is_vouched)
        try:
            self._writer.submit(Entry(reports=(row,)))
        except (Overloaded, Unavailable) as error:
            metrics.UNSTORED_FIXES.inc()
            log.warning("fix not stored", provider=fix.provider, code=error.code)
        return row.id

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
            if assessment.usable or not self._providers[name].configured:
                remaining.append(search)
            else:
                search.note("skipped", assessment.reason, started=started, error=unidentified(assessment))
        return remaining
