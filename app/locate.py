"""Locate a device: from a stored fix that is fresh enough, else from the first provider that knows."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import msgspec
import structlog
from msgspec.structs import replace

from app import policy, telemetry
from app.access import meter_for
from app.caller import ANYONE, Caller
from app.errors import (
    Attempt,
    FieldError,
    GatewayError,
    MaxAgeNotMet,
    MissingIdentifier,
    Outcome,
    Overloaded,
    PermissionDenied,
    ProviderError,
    ProviderNotConfigured,
    ProviderTimeout,
    Unavailable,
)
from app.model import Deadline, Device, Fix, Located, LocationQuery, Mdn, ProviderName, Report
from app.policy import Candidate
from app.provider import Assessment, Locator, Provider, metered
from app.storage import aliases, positions
from app.storage.audit import NewAudit, new_row
from app.storage.database import Database
from app.storage.journal import Journal
from app.storage.rows import device_key, milliseconds, to_row
from app.storage.tables import ReportRow
from app.storage.writer import Entry, Writer

log = structlog.get_logger()

_MOST_KEPT_ANSWERS = 10_000

_Question: TypeAlias = tuple[LocationQuery, str]
"""A query, and whose answers to it may be shared."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the device is, who said so, and what was tried.

    Attributes:
        device: The caller's device, completed from the alias book.
        report_id: The report that the fix is stored as, as hexadecimal digits.
        billed: Whether the provider is known to charge for it; None where nobody knows.
    """

    device: Device
    fix: Fix
    attempts: tuple[Attempt, ...] = ()
    hints: tuple[str, ...] = ()
    report_id: str | None = None
    billed: bool | None = False


@dataclass(slots=True, kw_only=True)
class _Search:
    """One question on its way through the candidates."""

    query: LocationQuery
    caller: Caller
    left: list[Candidate]
    attempts: list[Attempt] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    answer: Answer | None = None
    error: GatewayError | None = None

    @property
    def is_over(self) -> bool:
        return self.answer is not None or not self.left

    def note(self, outcome: Outcome, reason: str | None, *, started: float, error: GatewayError | None = None) -> None:
        """List an attempt at the present candidate, and go on to the next where that is allowed."""
        candidate = self.left[0]
        duration_s = time.perf_counter() - started
        attempt = Attempt(provider=candidate.name, outcome=outcome, duration_ms=round(duration_s * 1000), reason=reason)
        self.attempts.append(attempt)
        telemetry.attempt(candidate.name, outcome, duration_s)
        if error is not None:
            # A skipped candidate explains a failure only when nobody could be asked.
            if outcome not in ("skipped", "not_configured") or self.error is None:
                self.error = error
            final = isinstance(error, ProviderError) and not error.moves_on
            self.left = [] if final or not self.query.fallback else self.left[1:]

    def failure(self) -> GatewayError:
        """Give the error that ends the search."""
        assert self.error is not None
        # Several questions may have met the very same error, each after attempts of its own.
        error = copy(self.error)
        error.attempts = tuple(self.attempts)
        error.hints = tuple(dict.fromkeys((*self.hints, *error.hints)))
        return error


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
        self._recent_s = recent_s
        self._reuse_s = reuse_s
        self._journal = Journal(writer)
        self._in_flight: dict[tuple[LocationQuery, float, str], asyncio.Future[Answer | GatewayError]] = {}
        self._kept: OrderedDict[_Question, tuple[float, Answer]] = OrderedDict()

    async def one(self, query: LocationQuery, *, request_id: str, timeout_s: float, caller: Caller = ANYONE) -> Answer:
        """Answer one question within `timeout_s` seconds, and leave an audit row.

        Raises:
            RequestError: The question cannot be answered as it was asked.
            PermissionDenied: The caller may not ask about this device or account.
            ProviderError: Nobody could say where the device is; `attempts` tells who was asked.
        """
        try:
            query = self._permitted(query, caller)
            answer = await self._one(query, request_id, timeout_s, caller)
        except GatewayError as error:
            self._journal.note(_told(query, error, caller, request_id))
            raise
        self._journal.note(_told(query, answer, caller, request_id))
        return answer

    async def _one(self, query: LocationQuery, request_id: str, timeout_s: float, caller: Caller) -> Answer:
        question = (query, caller.shares_with)
        if self._reuse_s and (kept := self._recall(question)) is not None:
            return kept
        key = (query, timeout_s, caller.shares_with)
        if (running := self._in_flight.get(key)) is not None:
            return await self._share(running, timeout_s)
        future: asyncio.Future[Answer | GatewayError] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        outcome: Answer | GatewayError = Unavailable("The gateway stopped before the answer came.")
        try:
            search = self._begin(query, caller)
            with metered(meter_for(caller, self._database)):
                await self._advance([search], request_id, Deadline.after(timeout_s))
            outcome = search.answer or search.failure()
        except GatewayError as error:
            outcome = error
        finally:
            del self._in_flight[key]
            future.set_result(outcome)
        if isinstance(outcome, GatewayError):
            raise outcome
        if self._reuse_s:
            self._keep(question, outcome)
        return outcome

    async def many(
        self, queries: Sequence[LocationQuery], *, request_id: str, timeout_s: float, caller: Caller = ANYONE
    ) -> list[Answer | GatewayError]:
        """Answer many questions within `timeout_s` seconds, in the order asked; equal ones are asked once.

        Each of them leaves an audit row.
        """
        outcomes: dict[LocationQuery, Answer | GatewayError] = {}
        searches: dict[LocationQuery, _Search] = {}
        for query in dict.fromkeys(queries):
            try:
                searches[query] = self._begin(self._permitted(query, caller), caller)
            except GatewayError as error:
                outcomes[query] = error
        with metered(meter_for(caller, self._database)):
            await self._advance(list(searches.values()), request_id, Deadline.after(timeout_s))
        for query, search in searches.items():
            outcomes[query] = search.answer or search.failure()
        for query in queries:
            self._journal.note(_told(query, outcomes[query], caller, request_id))
        return [outcomes[query] for query in queries]

    def _permitted(self, query: LocationQuery, caller: Caller) -> LocationQuery:
        """Give the question with the account that the caller means, where that is a matter of his key.

        Raises:
            PermissionDenied: The account or the device is out of the caller's reach.
        """
        reach = caller.reach
        if reach.is_everything:
            return query
        device = query.device
        if not reach.has_device(device):
            raise _out_of_reach("/device", "This API key may not locate this device, or not under this number.")
        if device.account is None and reach.only_account is not None:
            device = replace(device, account=reach.only_account)
            return replace(query, device=device)
        if device.account is not None and not reach.has_account(device.account):
            raise _out_of_reach("/device/account", "This API key may not see this account.")
        if device.account is None and (device.id or device.mdn):
            defaults = {provider.default_account for provider in self._providers.values()} - {None}
            if not all(reach.has_account(account) for account in defaults):
                raise _out_of_reach("/device/account", "Name one of the accounts that this API key may see.")
        return query

    def forget(self) -> None:
        """Forget all answers that are kept for identical questions."""
        self._kept.clear()

    def _begin(self, query: LocationQuery, caller: Caller) -> _Search:
        known = [
            Candidate(
                name=name,
                locates_by=locator.locates_by,
                configured=self._providers[name].configured,
                assessment=self._assess_measurements(locator, query),
            )
            for name, locator in self._locators.items()
        ]
        search = _Search(query=query, caller=caller, left=policy.candidates(query, known))
        for candidate in known:
            search.hints.extend(candidate.assessment.hints)
        return search

    @staticmethod
    def _assess_measurements(locator: Locator, query: LocationQuery) -> Assessment:
        if locator.locates_by == "measurements" and query.evidence is not None:
            return locator.assess(query)
        return policy.NOT_ASSESSED

    async def _advance(self, searches: Sequence[_Search], request_id: str, deadline: Deadline) -> None:
        """Take every search to its end, one round of candidates at a time."""
        while waiting := [search for search in searches if not search.is_over]:
            rounds: dict[ProviderName, list[_Search]] = {}
            for search in waiting:
                rounds.setdefault(search.left[0].name, []).append(search)
            if len(rounds) == 1:
                for name, group in rounds.items():
                    await self._ask(name, group, request_id, deadline)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for name, group in rounds.items():
                        tasks.create_task(self._ask(name, group, request_id, deadline))

    async def _ask(self, name: ProviderName, group: list[_Search], request_id: str, deadline: Deadline) -> None:
        locator = self._locators[name]
        started = time.perf_counter()
        if locator.locates_by == "device":
            group = await self._prepare_devices(locator, group, started)
        if not self._providers[name].configured:
            _pass_over(name, group, started)
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
                if isinstance(reply, MaxAgeNotMet) and isinstance(reply.obtained, Located):
                    self._store(search.query.device, reply.obtained, self._providers[name])
                search.note(outcome, reply.detail, started=started, error=reply)

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

    def _conclude(self, search: _Search, located: Located, started: float) -> None:
        search.note("located", None, started=started)
        search.hints.extend(located.hints)
        report_id = self._store(search.query.device, located, self._providers[located.fix.provider])
        search.answer = Answer(
            device=search.query.device,
            fix=located.fix,
            attempts=tuple(search.attempts),
            hints=tuple(dict.fromkeys(search.hints)),
            report_id=report_id,
            billed=located.billed,
        )

    def _store(self, device: Device, located: Located, provider: Provider) -> str:
        """Hand the fix to the writer; the caller's answer does not wait for the commit, later readers do."""
        fix = located.fix
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
            said_at=fix.fixed_at,
        )
        row = to_row(report, received_at=datetime.now(UTC), raw=located.raw)
        try:
            self._writer.submit(Entry(reports=(row,)))
        except (Overloaded, Unavailable) as error:
            telemetry.UNSTORED_FIXES.inc()
            log.warning("fix not stored", provider=fix.provider, code=error.code)
        return row.id

    async def _prepare_devices(self, locator: Locator, group: list[_Search], started: float) -> list[_Search]:
        """Complete the devices from the alias book and answer from stored fixes; return those still to be asked."""
        lacking = [search for search in group if locator.assess(search.query).missing_identifier]
        if lacking:
            try:
                await self._complete(lacking)
            except Unavailable as error:
                for search in lacking:
                    search.note("unavailable", error.detail, started=started, error=error)
                group = [search for search in group if search.error is not error]
        await self._answer_from_store(group)
        remaining = []
        for search in group:
            if search.answer is not None:
                continue
            assessment = locator.assess(search.query)
            search.hints.extend(assessment.hints)
            if assessment.usable or not self._providers[search.left[0].name].configured:
                remaining.append(search)
            else:
                search.note("skipped", assessment.reason, started=started, error=_unidentified(assessment))
        return remaining

    async def _complete(self, group: Iterable[_Search]) -> None:
        lacking = [search for search in group if None in (search.query.device.id, search.query.device.mdn)]
        ids = [search.query.device.id for search in lacking if search.query.device.id is not None]
        mdns = [search.query.device.mdn for search in lacking if search.query.device.mdn is not None]
        await self._writer.drained()
        async with self._database.session() as session:
            mdn_of = await aliases.mdns_of(session, ids) if ids else {}
            id_of = await aliases.devices_of(session, mdns) if mdns else {}
        for search in lacking:
            device = search.query.device
            if device.id is not None and device.id in mdn_of:
                device = replace(device, mdn=Mdn(mdn_of[device.id]))
            elif device.mdn is not None and device.mdn in id_of:
                device = replace(device, **id_of[device.mdn])
            search.query = replace(search.query, device=device)

    async def _answer_from_store(self, group: Sequence[_Search]) -> None:
        """Answer those for whom a fix is stored that is fresh enough."""
        asked = [(search, wanted) for search in group if (wanted := self._wanted(search)) is not None]
        if not asked:
            return
        await self._writer.drained()
        try:
            async with self._database.session() as session:
                rows = await positions.latest(session, [wanted for _, wanted in asked])
        except Unavailable:
            # Without the store the provider can still be asked; it costs at most what it would have cost anyway.
            return
        for (search, _), row in zip(asked, rows, strict=True):
            if row is not None:
                search.answer = _from_store(search, row)

    def _wanted(self, search: _Search) -> positions.Wanted | None:
        query = search.query
        max_age_s = self._recent_s if query.max_age_s is None else query.max_age_s
        if max_age_s <= 0:
            return None
        device = query.device
        account = device.account or self._providers[search.left[0].name].default_account
        # What was obtained for no account is for those who see all of them.
        seen = [account, ""] if account else None
        if (own := search.caller.reach.accounts) is not None:
            seen = [account] if account else sorted(own)
        return positions.Wanted(
            keys=[key for key in (device.id, f"mdn:{device.mdn}" if device.mdn else None) if key],
            since=datetime.now(UTC) - timedelta(seconds=max_age_s),
            accounts=seen,
            provider=query.pinned,
        )

    async def _share(self, running: "asyncio.Future[Answer | GatewayError]", timeout_s: float) -> Answer:
        telemetry.STORED_ANSWERS.labels("in_flight").inc()
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await asyncio.shield(running)
        except TimeoutError as error:
            raise ProviderTimeout("No answer came in time.") from error
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    def _recall(self, question: _Question) -> Answer | None:
        kept = self._kept.get(question)
        if kept is None or time.monotonic() - kept[0] > self._reuse_s:
            return None
        telemetry.STORED_ANSWERS.labels("reuse").inc()
        return replace(kept[1], fix=replace(kept[1].fix, cached=True))

    def _keep(self, question: _Question, answer: Answer) -> None:
        self._kept[question] = (time.monotonic(), answer)
        self._kept.move_to_end(question)
        while len(self._kept) > _MOST_KEPT_ANSWERS:
            self._kept.popitem(last=False)


def _out_of_reach(pointer: str, detail: str) -> PermissionDenied:
    field = FieldError(pointer=pointer, code="OUT_OF_REACH", detail="is out of the reach of this API key")
    return PermissionDenied(detail, errors=(field,))


def _told(query: LocationQuery, outcome: Answer | GatewayError, caller: Caller, request_id: str) -> NewAudit:
    """Write down what somebody asked, and was told."""
    if isinstance(outcome, Answer):
        return new_row(
            caller.key_id,
            request_id,
            "locate",
            "located",
            account=outcome.device.account,
            device=device_key(outcome.device),
            provider=outcome.fix.provider,
            billed=outcome.billed,
            report_id=outcome.report_id,
        )
    return new_row(
        caller.key_id,
        request_id,
        "locate",
        outcome.code,
        account=query.device.account,
        device=device_key(query.device),
        provider=outcome.attempts[-1].provider if outcome.attempts else None,
        billed=None if outcome.attempts else False,
    )


def _pass_over(name: ProviderName, group: Sequence[_Search], started: float) -> None:
    missing = ProviderNotConfigured("The provider's settings are incomplete; see /providers.", provider=name)
    for search in group:
        search.note("not_configured", missing.title, started=started, error=missing)


def _unidentified(assessment: Assessment) -> MissingIdentifier:
    if assessment.missing_identifier is None:
        field = FieldError(pointer="/device", code="MISSING", detail=assessment.reason)
        return MissingIdentifier(assessment.reason, errors=(field,))
    lacking = "mdn" if assessment.missing_identifier == "mdn" else "imei"
    detail = f"send {lacking} as well; neither an earlier request nor a callback has shown it"
    return MissingIdentifier(
        assessment.reason, errors=(FieldError(pointer=f"/device/{lacking}", code="MISSING", detail=detail),)
    )


def _from_store(search: _Search, row: ReportRow) -> Answer:
    telemetry.STORED_ANSWERS.labels("store").inc()
    hints = (*search.hints, "answered from a stored fix; send maxAge 0 for a current one")
    return Answer(
        device=search.query.device,
        fix=to_fix(row),
        attempts=tuple(search.attempts),
        hints=tuple(dict.fromkeys(hints)),
        report_id=row.id.hex,
    )


def to_fix(row: ReportRow) -> Fix:
    """Read the fix of a stored, located report; it is a cached one by now."""
    assert row.latitude is not None
    assert row.longitude is not None
    return Fix(
        latitude_deg=row.latitude,
        longitude_deg=row.longitude,
        accuracy_m=row.accuracy_m,
        confidence_pct=row.confidence_pct,
        fixed_at=row.at,
        source=row.source or "unknown",  # type: ignore[arg-type]  # written from a Source
        provider=ProviderName(row.provider),
        cached=True,
    )
