"""The use case of `/locate`: asks the candidates one after the other, and stores the answers."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from app.access import Actor, AuditLog, budget_of, meter_for
from app.access.permissions import permitted_query
from app.caller import ANYONE, Caller
from app.directory import DeviceDirectory
from app.errors import GatewayError, InvalidArgument, RequestError
from app.locate.answers import LocateResult, record_answer
from app.locate.calls import ProviderCalls
from app.locate.fix_store import FixStore
from app.locate.known_fixes import KnownFixes
from app.locate.late_answers import LateAnswers
from app.locate.rehearsal import Explanation, Rehearsal, RehearsedCalls, to_explanation
from app.locate.search import Found, Search
from app.locate.single_flight import SingleFlight
from app.locate.walk import Walk
from app.model import Deadline, LocationQuery
from app.provider import Provider, metered
from app.storage.database import Database
from app.storage.rows import device_key
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
        self._database = database
        self._defaults = {provider.default_account for provider in providers if provider.default_account is not None}
        assumed = {
            provider.name: provider.assumed_confidence_pct
            for provider in providers
            if provider.assumed_confidence_pct is not None
        }
        self._memory = KnownFixes(database, writer, DeviceDirectory(database), recent_s=recent_s, assumed=assumed)
        self._walk = Walk({provider.name: provider for provider in providers}, self._memory)
        self._sharing = SingleFlight(reuse_s)
        self._audit = AuditLog(writer)
        fixes = FixStore(writer, database.clock)
        self._late = LateAnswers(fixes, self._audit, database.clock, patience_s=late_s)
        self._calls = ProviderCalls(self._memory, fixes, self._late, assumed)

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
                query_allowed = permitted_query(query, caller.reach, self._defaults)
                searches[query] = self._walk.begin(Search(query=query_allowed, caller=caller, request_id=request_id))
            except GatewayError as error:
                outcomes[query] = error
        with metered(meter_for(caller, self._database)):
            await self._walk.advance(list(searches.values()), Deadline.after(timeout_s), self._calls)
        await self._recall(list(searches.values()))
        for query, search in searches.items():
            outcomes[query] = search.outcome()
        by, recorded = Actor(key_id=caller.key_id, request_id=request_id), set[LocationQuery]()
        for query in queries:
            record_answer(self._audit, by, query, outcomes[query], is_own=query not in recorded)
            recorded.add(query)
        return [outcomes[query] for query in queries]

    async def explain(
        self, query: LocationQuery, *, request_id: str, timeout_s: float, caller: Caller = ANYONE
    ) -> Explanation:
        """Find out what a question would come to, on the same way, without asking any provider.

        Raises:
            InvalidArgument: The question is malformed.
            Unavailable: The database cannot be asked.
        """
        search = Rehearsal(query=query, caller=caller, request_id=request_id)
        budget = await budget_of(caller, self._database)
        problem: GatewayError | None = None
        stored: Found | None = None
        try:
            search.query = permitted_query(query, caller.reach, self._defaults)
            self._walk.begin(search)
            problem = search.error
            await self._walk.advance([search], Deadline.after(timeout_s), RehearsedCalls(budget))
            stored = await self._memory.newest(search, self._defaults)
        except InvalidArgument:
            raise
        except RequestError as error:
            problem = error
        known = self._walk.known(query)
        explanation = to_explanation(search, known, problem, stored, budget, self._database.clock.now())
        self._audit.record(
            Actor(key_id=caller.key_id, request_id=request_id),
            "locate.explain",
            "done" if problem is None else problem.code,
            account=search.query.device.account,
            device=device_key(search.query.device),
            report_id=stored.report_id if stored else None,
        )
        return explanation

    def forget(self) -> None:
        """Forget all answers that are kept for identical questions."""
        self._sharing.forget()

    async def _search(self, query: LocationQuery, request_id: str, timeout_s: float, caller: Caller) -> LocateResult:
        search = self._walk.begin(Search(query=query, caller=caller, request_id=request_id))
        with metered(meter_for(caller, self._database)):
            await self._walk.advance([search], Deadline.after(timeout_s), self._calls)
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
