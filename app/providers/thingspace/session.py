"""The OAuth token and the M2M session that every call needs at once (reference, section 2)."""

import time
from base64 import b64encode
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import httpx

from app.errors import MalformedJson, ProviderMisconfigured, ProviderUnavailable, UnexpectedReply
from app.model import Deadline
from app.provider import Vault
from app.providers.thingspace import reading, wire
from app.providers.thingspace.settings import NAME, ThingSpaceSettings, secret_text
from app.providers.thingspace.token_state import Rejection, TokenState
from app.providers.thingspace.tokens import REJECTIONS_ALLOWED, SharedToken
from app.providers.thingspace.vendor_errors import VendorFault, expired, fault_in, to_error, to_fault
from app.upstream import translated_errors, with_retries, within

IDLE_LIMIT_S = 19 * 60.0
"""ThingSpace ends a session after 20 minutes without use."""

TokenKind = Literal["bearer", "session"]

_SERVER_ERROR = 500
_NOT_ABOUT_CREDENTIALS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Tokens:
    """Bearer and session, each shared by everybody and renewed by one."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: ThingSpaceSettings,
        vault: Vault,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._settings = settings
        self._client = f"{secret_text(settings.key)}:{secret_text(settings.secret)}".encode()
        user = f"{settings.m2m}\n{secret_text(settings.username)}\n{secret_text(settings.password)}"
        self.bearer = SharedToken(
            "bearer",
            vault=vault,
            credentials=settings.oauth.encode() + b"\n" + self._client,
            ask=self._ask_for_bearer,
            clock=clock,
        )
        self.session = SharedToken(
            "session",
            vault=vault,
            credentials=user.encode(),
            ask=self._log_in,
            idle_limit_s=IDLE_LIMIT_S,
            clock=clock,
        )

    @property
    def both(self) -> tuple[SharedToken, SharedToken]:
        """Bearer and session."""
        return self.bearer, self.session

    def usable(self) -> tuple[str, str] | None:
        """Return both tokens from memory; None when one of them has to be obtained."""
        bearer, session = self.bearer.usable(), self.session.usable()
        return (bearer, session) if bearer and session else None

    async def get(self, deadline: Deadline) -> tuple[str, str]:
        """Return both tokens, obtaining what is missing."""
        bearer = await self.bearer.get(deadline)
        return bearer, await self.session.get(deadline)

    async def reset(self) -> None:
        """Forget rejections and cool-downs."""
        await self.bearer.reset()
        await self.session.reset()

    async def aclose(self) -> None:
        """End renewals that are under way."""
        await self.session.aclose()
        await self.bearer.aclose()

    async def _ask_for_bearer(self, deadline: Deadline) -> TokenState | Rejection:
        headers = {
            "Authorization": f"Basic {b64encode(self._client).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self._settings.oauth}/oauth2/token"
        response = await self._post("token", url, b"grant_type=client_credentials", headers, deadline)
        answer = _members_of(response)
        token = reading.text(answer.get("access_token"))
        if response.is_success and token is not None:
            return TokenState(token=token, lasts_s=reading.number(answer.get("expires_in")))
        fault = _rejecting(response, answer)
        return Rejection(error=_rejected("OAuth key and secret", response, fault, hide=secret_text(self._settings.key)))

    async def _log_in(self, deadline: Deadline) -> TokenState | Rejection:
        bearer = await self.bearer.get(deadline)
        outcome, kind = await self._try_to_log_in(bearer, deadline)
        if kind != "bearer" or isinstance(outcome, TokenState):
            return outcome
        renewed = await self.bearer.get(deadline, failed=bearer)
        if renewed == bearer:
            return outcome
        # The first attempt counts as well: it may have been the login that was meant after all.
        outcome, _ = await self._try_to_log_in(renewed, deadline)
        return outcome if isinstance(outcome, TokenState) else Rejection(error=outcome.error, times=outcome.times + 1)

    async def _try_to_log_in(self, bearer: str, deadline: Deadline) -> tuple[TokenState | Rejection, TokenKind | None]:
        user = wire.Login(username=secret_text(self._settings.username), password=secret_text(self._settings.password))
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        url = f"{self._settings.m2m}/session/login"
        response = await self._post("login", url, wire.to_json(user), headers, deadline)
        answer = _members_of(response)
        token = reading.text(answer.get("sessiontoken"))
        if response.is_success and token is not None:
            return TokenState(token=token), None
        fault = _rejecting(response, answer)
        is_locked = response.status_code == HTTPStatus.LOCKED or "lock" in fault.said
        rejection = Rejection(
            error=_rejected("M2M user name and password", response, fault, hide=user.username),
            times=REJECTIONS_ALLOWED if is_locked else 1,
        )
        return rejection, None if fault.from_service else expired(response.status_code, fault)

    async def _post(
        self, operation: str, url: str, content: bytes, headers: dict[str, str], deadline: Deadline
    ) -> httpx.Response:
        extensions = {"operation": operation}

        async def post() -> httpx.Response:
            with translated_errors(NAME):
                async with within(deadline, NAME):
                    response = await self._http.post(url, content=content, headers=headers, extensions=extensions)
            if response.status_code >= _SERVER_ERROR or response.status_code in _NOT_ABOUT_CREDENTIALS:
                raise to_error(response, VendorFault())
            return response

        return await with_retries(post, attempts=self._settings.retries + 1, deadline=deadline)


def _members_of(response: httpx.Response) -> dict[str, object]:
    try:
        return reading.members(reading.decode(response.content))
    except (MalformedJson, UnexpectedReply):
        return {}


def _rejecting(response: httpx.Response, answer: dict[str, object]) -> VendorFault:
    """Return what a rejection states; any other answer is an error.

    Raises:
        UnexpectedReply: A success without a token in it.
        ProviderUnavailable: An answer that comes from elsewhere, such as a redirect.
    """
    fault = fault_in(answer) if answer else to_fault(response.content)
    if response.is_success and not fault.code:
        raise UnexpectedReply("The answer holds no token.", provider=NAME, may_have_been_received=True)
    if not response.is_success and not response.is_client_error:
        raise ProviderUnavailable(f"ThingSpace answered {response.status_code}.", provider=NAME)
    return fault


def _rejected(what: str, response: httpx.Response, fault: VendorFault, *, hide: str) -> ProviderMisconfigured:
    error = to_error(response, fault, hide=hide)
    return ProviderMisconfigured(
        f"ThingSpace rejected the {what}.",
        provider=NAME,
        vendor_code=error.vendor_code,
        vendor_message=error.vendor_message,
    )
