"""The CloudLocate locator: all usable measurements of a query in one call."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import httpx
import structlog

from app.errors import GatewayError, ProviderError, ProviderNotConfigured, TimeTooShort, UnableToLocate
from app.model import Deadline, Located, LocationQuery
from app.provider import Assessment, Health, LocatesBy
from app.providers.cloudlocate import refusals, wire
from app.providers.cloudlocate.mapping import NAME, Prepared, prepare, to_located, to_request
from app.providers.cloudlocate.oauth import TokenSource
from app.providers.cloudlocate.rate_limiter import RateLimiter
from app.providers.cloudlocate.settings import CloudLocateSettings, to_basic
from app.upstream import (
    USER_AGENT,
    CallSlots,
    CallTimes,
    PaidCalls,
    limits_until,
    reserved,
    translated_errors,
    with_retries,
)

_OK = 200
_UNAUTHORIZED = 401
_FEWEST_CALLS = 64
_MOST_CALLS = 256
"""How many queries of a batch are sent at once: as few as finish in time."""
_MOST_PREPARED = 1024
"""How many assessed queries are remembered until they are sent."""

_log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class CloudLocate:
    """Locates by the caller's measurements."""

    locates_by: LocatesBy = "measurements"

    def __init__(
        self, http: httpx.AsyncClient, settings: CloudLocateSettings, now: Callable[[], datetime] = _now
    ) -> None:
        self._http = http
        self._settings = settings
        self._now = now
        self._missing = settings.missing
        self._attempts = settings.max_retries + 1
        self._pace = RateLimiter(settings.rate_limit_rps) if settings.rate_limit_rps else None
        self._tokens = TokenSource(http, settings) if settings.auth == "oauth2" else None
        self._paid = PaidCalls(NAME, limit_s=settings.timeout_s)
        self._times = CallTimes(NAME)
        self._basic = to_basic(*settings.credentials)
        self._prepared: dict[int, tuple[LocationQuery, Prepared]] = {}
        self._url = httpx.URL(settings.url or "")
        self._headers = [
            (b"Host", self._url.netloc),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"Content-Type", b"application/json"),
            (b"User-Agent", USER_AGENT.encode()),
        ]
        self._last_error: tuple[ProviderError, datetime] | None = None
        self._is_failing = False
        self._wrong_checksums = 0

    def assess(self, query: LocationQuery) -> Assessment:
        """Judge the measurements without calling anybody.

        Raises:
            InvalidArgument: A part is malformed; `errors` points at it.
        """
        prepared = prepare(query, self._settings, self._now())
        if len(self._prepared) >= _MOST_PREPARED:
            self._prepared.clear()
        self._prepared[id(query)] = (query, prepared)
        return prepared.assessment

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        """Send all usable measurements in one call.

        Raises:
            ProviderError: Any of the tree.
        """
        self._times.check(deadline)
        call = self._counted(query, request_id, deadline)
        return await self._paid.answer_to(call, times=self._times, deadline=deadline)

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        """Ask about each query on its own, some at a time; the vendor knows no calls for several."""
        slots = CallSlots(self._times, deadline, fewest=_FEWEST_CALLS, most=_MOST_CALLS)

        async def one(query: LocationQuery) -> Located | GatewayError:
            try:
                async with slots.slot():
                    return await self.locate(query, request_id=request_id, deadline=deadline)
            except GatewayError as error:
                return error

        return await asyncio.gather(*map(one, queries))

    def health(self) -> Health:
        """Return how the last call went, for operators."""
        error, at = self._last_error or (None, None)
        notes = []
        if self._missing:
            notes.append(f"set {', '.join(self._missing)}")
        if self._wrong_checksums:
            notes.append(f"{self._wrong_checksums} GNSS payloads were sent although their UBX checksum is wrong")
        return Health(
            state="not_configured" if self._missing else "failing" if self._is_failing else "ready",
            token_age_s=self._tokens.age_s if self._tokens else None,
            last_error=error.code if error else None,
            last_error_at=at,
            notes=tuple(notes),
        )

    async def reset(self) -> None:
        """Forget tokens and the last failure."""
        if self._tokens is not None:
            self._tokens.reset()
        self._last_error = None
        self._is_failing = False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._paid.aclose()
        if self._tokens is not None:
            await self._tokens.aclose()
        await self._http.aclose()

    def _note(self, error: ProviderError) -> None:
        self._is_failing = not isinstance(error, UnableToLocate)
        if self._is_failing:
            self._last_error = (error, self._now())

    async def _counted(self, query: LocationQuery, request_id: str, deadline: Deadline) -> Located:
        async with reserved(1):
            return await self._noted(query, request_id, deadline)

    async def _noted(self, query: LocationQuery, request_id: str, deadline: Deadline) -> Located:
        try:
            located = await self._locate(query, request_id, deadline)
        except ProviderError as error:
            error.provider = NAME
            self._note(error)
            raise
        self._is_failing = False
        return located

    async def _locate(self, query: LocationQuery, request_id: str, deadline: Deadline) -> Located:
        if self._missing:
            raise ProviderNotConfigured("CloudLocate is not configured; see its settings.")
        prepared = self._take(query)
        if query.evidence is None or not prepared.assessment.usable:
            raise UnableToLocate(prepared.assessment.reason)
        self._wrong_checksums += prepared.has_wrong_checksum
        request = to_request(query, prepared, request_id)
        response = await with_retries(
            partial(self._ask, wire.to_json(request), deadline), attempts=self._attempts, deadline=deadline
        )
        with translated_errors(NAME):
            reply = wire.read_position(response.content)
        _compare_echoes(request, reply)
        raw = response.content.decode("utf-8", "replace")
        return to_located(reply, query.evidence, self._settings, now=self._now(), raw=raw)

    def _take(self, query: LocationQuery) -> Prepared:
        # The very query that was assessed a moment ago is not checked twice. Holding it keeps its id from being reused.
        known = self._prepared.pop(id(query), None)
        return known[1] if known else prepare(query, self._settings, self._now())

    async def _ask(self, body: bytes, deadline: Deadline) -> httpx.Response:
        if self._pace is not None:
            await self._pace.turn(deadline)
        with translated_errors(NAME):
            response = await self._authorized(body, deadline)
        if response.status_code != _OK:
            raise refusals.to_error(response, sent=body, known=self._settings.credentials)
        return response

    async def _authorized(self, body: bytes, deadline: Deadline) -> httpx.Response:
        if self._tokens is None:
            return await self._send(body, self._basic, deadline)
        token = await self._tokens.token()
        response = await self._send(body, f"Bearer {token}", deadline)
        if response.status_code == _UNAUTHORIZED:
            self._tokens.drop(token)
            response = await self._send(body, f"Bearer {await self._tokens.token()}", deadline)
        return response

    async def _send(self, body: bytes, authorization: str, deadline: Deadline) -> httpx.Response:
        if deadline.left_s() <= 0:
            raise TimeTooShort("No time was left to ask CloudLocate.")
        limits = limits_until(deadline, connect_timeout_s=self._settings.connect_timeout_s)
        # All but three things are the same each time; letting httpx put the request together costs twice as much.
        varying = [(b"Authorization", authorization.encode()), (b"Content-Length", b"%d" % len(body))]
        request = httpx.Request(
            "POST",
            self._url,
            headers=self._headers + varying,
            stream=httpx.ByteStream(body),
            extensions={"operation": "locate", "timeout": limits},
        )
        request.read()
        return await self._http.send(request)


def _compare_echoes(request: wire.PositionRequest, reply: wire.PositionReply) -> None:
    # The exchange itself pairs request and answer; the vendor's own sample shows other ids in the answer.
    for field, sent, came in (
        ("RequestId", request.request_id, reply.request_id),
        ("DeviceId", request.device_id, reply.device_id),
    ):
        if came is not None and came != sent:
            _log.warning("echo differs", provider=NAME, field=field)
