"""Locate a device: from a stored fix that is fresh enough, else from the first provider that knows."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from msgspec.structs import replace

from app import policy, telemetry
from app.errors import (
    Attempt,
    FieldError,
    GatewayError,
    MaxAgeNotMet,
    MissingIdentifier,
    Outcome,
    Overloaded,
    ProviderError,
    ProviderNotConfigured,
    ProviderTimeout,
    Unavailable,
)
from app.model import Deadline, Device, Fix, Located, LocationQuery, Mdn, ProviderName, Report
from app.policy import Candidate
from app.provider import Assessment, Locator, Provider
from app.storage import aliases, positions
from app.storage.database import Database
from app.storage.rows import device_key, milliseconds, to_row
from app.storage.tables import ReportRow
from app.storage.writer import Entry, Writer

log = structlog.get_logger()

_MOST_KEPT_ANSWERS = 10_000


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the device is, who said so, and what was tried.

    Attributes:
        device: The caller's device, completed from the alias book.
    """

    device: Device
    fix: Fix
    attempts: tuple[Attempt, ...] = ()
    hints: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Search:
    """One question on its way through the candidates."""

    query: LocationQuery
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
        self._in_flight: dict[tuple[LocationQuery, float], asyncio.Future[Answer | GatewayError]] = {}
        self._kept: OrderedDict[LocationQuery, tuple[float, Answer]] = OrderedDict()

    async def one(self, query: LocationQuery, *, request_id: str, timeout_s: float) -> Answer:
        """Answer one question within `timeout_s` seconds.

        Raises:
            RequestError: The question cannot be answered as it was asked.
            ProviderError: Nobody could say where the device is; `attempts` tells who was asked.
        """
        if self._reuse_s and (kept := self._recall(query)) is not None:
            return kept
        key = (query, timeout_s)
        if (running := self._in_flight.get(key)) is not None:
            return await self._share(running, timeout_s)
        future: asyncio.Future[Answer | GatewayError] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = future
        outcome: Answer | GatewayError = Unavailable("The gateway stopped before the answer came.")
        try:
            search = self._begin(query)
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
            self._keep(query, outcome)
        return outcome

    async def many(
        self, queries: Sequence[LocationQuery], *, request_id: str, timeout_s: float
    ) -> list[Answer | GatewayError]:
        """Answer many questions within `timeout_s` seconds, in the order asked; equal ones are asked once."""
        outcomes: dict[LocationQuery, Answer | GatewayError] = {}
        searches: list[_Search] = []
        for query in dict.fromkeys(queries):
            try:
                searches.append(self._begin(query))
            except GatewayError as error:
                outcomes[query] = error
        asked = [search.query for search in searches]
        await self._advance(searches, request_id, Deadline.after(timeout_s))
        for query, search in zip(asked, searches, strict=True):
            outcomes[query] = search.answer or search.failure()
        return [outcomes[query] for query in queries]

    def _begin(self, query: LocationQuery) -> _Search:
        known = [
            Candidate(
                name=name,
                locates_by=locator.locates_by,
                configured=self._providers[name].configured,
                assessment=self._assess_measurements(locator, query),
            )
            for name, locator in self._locators.items()
        ]
        search = _Search(query=query, left=policy.candidates(query, known))
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
        if deadline.left_s() <= 0:
            return [ProviderTimeout("The time was used up before this provider's turn.", provider=name)] * len(queries)
        try:
            if len(queries) == 1:
                return [await locator.locate(queries[0], request_id=request_id, deadline=deadline)]
            return await locator.locate_many(queries, request_id=request_id, deadline=deadline)
        except GatewayError as error:
            return [error] * len(queries)

    def _conclude(self, search: _Search, located: Located, started: float) -> None:
        search.note("located", None, started=started)
        search.hints.extend(located.hints)
        search.answer = Answer(
            device=search.query.device,
            fix=located.fix,
            attempts=tuple(search.attempts),
            hints=tuple(dict.fromkeys(search.hints)),
        )
        self._store(search.query.device, located, self._providers[located.fix.provider])

    def _store(self, device: Device, located: Located, provider: Provider) -> None:
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
        try:
            self._writer.submit(Entry(reports=(to_row(report, received_at=datetime.now(UTC), raw=located.raw),)))
        except (Overloaded, Unavailable) as error:
            telemetry.UNSTORED_FIXES.inc()
            log.warning("fix not stored", provider=fix.provider, code=error.code)

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
        remaining = []
        for search in group:
            if await self._answer_from_store(search):
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

    async def _answer_from_store(self, search: _Search) -> bool:
        query = search.query
        max_age_s = self._recent_s if query.max_age_s is None else query.max_age_s
        if max_age_s <= 0:
            return False
        device = query.device
        account = device.account or self._providers[search.left[0].name].default_account
        keys = [key for key in (device.id, f"mdn:{device.mdn}" if device.mdn else None) if key]
        await self._writer.drained()
        try:
            async with self._database.session() as session:
                row = await positions.latest(
                    session,
                    keys,
                    accounts=[account, ""] if account else None,
                    provider=query.pinned,
                    since=datetime.now(UTC) - timedelta(seconds=max_age_s),
                )
        except Unavailable:
            # Without the store the provider can still be asked; it costs at most what it would have cost anyway.
            return False
        if row is None:
            return False
        telemetry.STORED_ANSWERS.labels("store").inc()
        hints = (*search.hints, "answered from a stored fix; send maxAge 0 for a current one")
        search.answer = Answer(
            device=device, fix=to_fix(row), attempts=tuple(search.attempts), hints=tuple(dict.fromkeys(hints))
        )
        return True

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

    def _recall(self, query: LocationQuery) -> Answer | None:
        kept = self._kept.get(query)
        if kept is None or time.monotonic() - kept[0] > self._reuse_s:
            return None
        telemetry.STORED_ANSWERS.labels("reuse").inc()
        return replace(kept[1], fix=replace(kept[1].fix, cached=True))

    def _keep(self, query: LocationQuery, answer: Answer) -> None:
        self._kept[query] = (time.monotonic(), answer)
        self._kept.move_to_end(query)
        while len(self._kept) > _MOST_KEPT_ANSWERS:
            self._kept.popitem(last=False)


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
