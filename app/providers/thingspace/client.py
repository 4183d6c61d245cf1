"""Calls to the Device Location API: both tokens on each, one repetition when one of them has expired."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Literal, TypeVar

import httpx

from app.errors import (
    ProviderError,
    ProviderMisconfigured,
    ProviderNotConfigured,
    ProviderThrottled,
    ProviderTimeout,
    ProviderUnavailable,
    TimeTooShort,
    UnexpectedReply,
)
from app.model import Deadline
from app.provider import Vault
from app.providers.thingspace.session import TokenKind, Tokens
from app.providers.thingspace.settings import NAME, ThingSpaceSettings
from app.providers.thingspace.vendor_errors import expired, to_error, to_fault
from app.upstream import USER_AGENT, PaidCalls, limits_until, translated_errors, with_retries, within

T = TypeVar("T")

_TROUBLE = (ProviderUnavailable, ProviderTimeout, ProviderThrottled, ProviderMisconfigured, UnexpectedReply)


@dataclass(slots=True, kw_only=True)
class Call:
    """One request to the location API, or to the connectivity API (`m2m`).

    Attributes:
        path: Path and query behind the API's address, already encoded.
        operation: What it asks for, as it stands in traces, where the path must not.
        account: The account it is about; hidden in error texts.
        is_safe: Sending it twice does no harm and costs nothing; any other call is only repeated when it certainly
            was not carried out.
        may_outlast: It is begun before the deadline, and may end after it.
        in_doubt: A sending failed in a way that leaves open whether it was received.
    """

    method: str
    path: str
    operation: str
    body: bytes | None = None
    account: str = ""
    api: Literal["location", "m2m"] = "location"
    is_safe: bool = False
    may_outlast: bool = False
    in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The last failure that is ThingSpace's or ours, not a device's."""

    code: str
    at: datetime


class Client:
    """Sends calls; keeps the tokens and the record of how things go."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: ThingSpaceSettings,
        vault: Vault,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tokens = Tokens(http, settings, vault, clock=clock)
        self.paid = PaidCalls(NAME, limit_s=settings.timeout_s)
        self.trouble: Trouble | None = None
        self.failures = 0
        self._http = http
        self._settings = settings

    async def reset(self) -> None:
        """Forget rejected logins, cool-downs and past failures."""
        await self.tokens.reset()
        self.trouble, self.failures = None, 0

    async def call(self, call: Call, read: Callable[[httpx.Response], T], *, deadline: Deadline) -> T:
        """Send a call and return what `read` makes of its successful answer.

        Raises:
            ProviderError: ThingSpace refused, failed, or could not be reached.
            Unavailable: A login is needed and the vault cannot be reached.
        """
        if not self._settings.configured:
            raise ProviderNotConfigured("ThingSpace's credentials are not set.", provider=NAME)
        try:
            result = read(await self._answer_to(call, deadline))
        except _TROUBLE as error:
            self.failures += 1
            self.trouble = Trouble(code=error.code, at=datetime.now(UTC))
            raise
        self.failures = 0
        return result

    async def _answer_to(self, call: Call, deadline: Deadline) -> httpx.Response:
        """Send a call, and once more for each token that turns out to have expired."""
        bearer, session = self.tokens.usable() or await self.tokens.get(deadline)
        renewed: set[TokenKind] = set()
        while True:
            response = await with_retries(
                partial(self._send_in_time, call, bearer, session, deadline),
                attempts=self._settings.retries + 1,
                deadline=deadline,
            )
            if response.is_success:
                self.tokens.session.accepted()
                return response
            fault = to_fault(response.content)
            kind = expired(response.status_code, fault)
            if kind is None:
                raise to_error(response, fault, hide=call.account)
            if kind in renewed:
                raise ProviderMisconfigured("ThingSpace does not accept the tokens it has just issued.", provider=NAME)
            renewed.add(kind)
            if kind == "bearer":
                bearer = await self.tokens.bearer.get(deadline, failed=bearer)
            else:
                session = await self.tokens.session.get(deadline, failed=session)

    async def _send_in_time(self, call: Call, bearer: str, session: str, deadline: Deadline) -> httpx.Response:
        """Send once.

        Raises:
            ProviderError: No answer, or one that is not about the request: 429 and 5xx.
        """
        if deadline.left_s() <= 0:
            raise TimeTooShort("No time was left to ask ThingSpace.", provider=NAME)
        bounds = nullcontext() if call.may_outlast else within(deadline, NAME, limit_s=self._settings.timeout_s)
        limits = limits_until(deadline, connect_timeout_s=self._settings.connect_timeout_s)
        try:
            with translated_errors(NAME):
                async with bounds:
                    response = await self._send(call, bearer, session, limits)
            if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise to_error(response, to_fault(response.content), hide=call.account)
        except ProviderError as error:
            call.in_doubt = call.in_doubt or error.may_have_been_received
            if call.is_safe:
                error.may_have_been_received = False
            raise
        return response

    async def _send(self, call: Call, bearer: str, session: str, limits: dict[str, float | None]) -> httpx.Response:
        # The one place that touches the HTTP library; a bare request skips the merging of client defaults.
        request = httpx.Request(
            call.method,
            _to_url((self._settings.m2m if call.api == "m2m" else self._settings.location) + call.path),
            headers={
                "Authorization": f"Bearer {bearer}",
                "VZ-M2M-Token": session,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": USER_AGENT,
            },
            content=call.body,
            extensions={"operation": call.operation, "timeout": limits},
        )
        return await self._http.send(request)


_to_url = lru_cache(maxsize=64)(httpx.URL)
