"""OAuth2 tokens of the S2S Thing: fetched once however many wait, renewed before they expire.

The token operation is undocumented, so grant, client authentication and life are settings.
"""

import asyncio
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from app.errors import ProviderError, ProviderMisconfigured, ProviderUnavailable, UnexpectedReply
from app.providers.cloudlocate import refusals, wire
from app.providers.cloudlocate.mapping import NAME, to_number
from app.providers.cloudlocate.settings import CloudLocateSettings, to_basic
from app.upstream import translated_errors, wait_for_turn_s

_MARGIN_S = 30
_LONGEST_PAUSE_S = 300.0
"""However long CloudLocate asks not to be asked: every call needs a token, also the one that shows all to be well."""
_MOST_REPLACED = 3
_REPLACED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token.

    Attributes:
        value: What stands behind `Bearer`.
        issued_at, renew_at: On the clock of the source, in seconds.
    """

    value: str
    refresh: str | None
    issued_at: float
    renew_at: float


class TokenSource:
    """Hands out a valid token; does no input or output until asked."""

    def __init__(
        self, http: httpx.AsyncClient, settings: CloudLocateSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http = http
        self._settings = settings
        self._clock = clock
        self._token: Token | None = None
        self._refresh: str | None = None
        self._fetching: asyncio.Task[Token] | None = None
        self._replaced_at: tuple[float, ...] = ()
        self._not_before = clock()

    @property
    def age_s(self) -> float | None:
        """Seconds since the token in use was issued; None without one."""
        return None if self._token is None else self._clock() - self._token.issued_at

    async def token(self) -> str:
        """Get a token, fetching one if need be.

        Raises:
            ProviderError: The token operation failed; all who waited for it get the same error.
        """
        if self._token is not None and self._clock() < self._token.renew_at:
            return self._token.value
        if (wait_s := self._not_before - self._clock()) > 0:
            raise ProviderUnavailable("CloudLocate is not asked for a token at the moment.", retry_after_s=wait_s)
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="cloudlocate token")
            self._fetching.add_done_callback(self._keep)
        try:
            # One waiter whose time is up must not take the token from the others.
            return (await asyncio.shield(self._fetching)).value
        except ProviderError as error:
            # Everybody who waited gets an error of their own, because attempts and hints are written on it.
            own = copy.copy(error)
            own.may_have_been_received = False  # the call for which the token is needed was never sent
            raise own from error

    def drop(self, rejected: str) -> None:
        """Forget a token that was answered with 401, unless another one has taken its place."""
        if self._token is None or self._token.value != rejected:
            return
        self._token = None
        now = self._clock()
        # Where fresh tokens are refused, more of them would not help.
        if wait_s := wait_for_turn_s(self._replaced_at, now, most=_MOST_REPLACED, per_s=_REPLACED_WITHIN_S):
            self._not_before = now + wait_s
        else:
            self._replaced_at = (*self._replaced_at[1 - _MOST_REPLACED :], now)

    def reset(self) -> None:
        """Forget everything, so that the next call starts with the credentials."""
        self._token = self._refresh = None
        self._replaced_at, self._not_before = (), self._clock()

    async def aclose(self) -> None:
        """End a fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _keep(self, task: asyncio.Task[Token]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        # Retrieving the exception keeps asyncio from logging it when every waiter has gone.
        error = task.exception()
        if error is None:
            self._token = task.result()
            self._refresh = self._token.refresh or self._refresh
        elif isinstance(error, ProviderError) and error.retry_after_s is not None:
            self._not_before = self._clock() + min(error.retry_after_s, _LONGEST_PAUSE_S)

    async def _fetch(self) -> Token:
        if self._refresh is not None:
            try:
                return await self._ask({"grant_type": "refresh_token", "refresh_token": self._refresh})
            except ProviderError:
                self._refresh = None
        return await self._ask(self._first_grant())

    def _first_grant(self) -> dict[str, str]:
        form: dict[str, str] = {"grant_type": self._settings.token_grant}
        match self._settings.token_grant:
            case "password":
                form["username"], form["password"] = self._settings.credentials
        return form

    async def _ask(self, form: dict[str, str]) -> Token:
        username, password = self._settings.credentials
        headers = {"Accept": "application/json"}
        match self._settings.token_client_auth:
            case "basic":
                headers["Authorization"] = to_basic(username, password)
            case "form":
                form |= {"client_id": username, "client_secret": password}
        asked_at = self._clock()
        with translated_errors(NAME):
            response = await self._http.post(
                self._settings.token_url or "",
                data=form,
                headers=headers,
                extensions={"operation": "token"},
                timeout=httpx.Timeout(self._settings.timeout_s, connect=self._settings.connect_timeout_s),
            )
            if response.is_success:
                return self._read(wire.read_token(response.content), asked_at)
            raise self._to_error(response, form)

    def _to_error(self, response: httpx.Response, form: dict[str, str]) -> ProviderError:
        error = refusals.to_error(response, known=tuple(form.values()) + self._settings.credentials)
        if response.is_client_error and not error.retryable:
            misconfigured = ProviderMisconfigured("CloudLocate's token operation rejects the credentials.")
            misconfigured.vendor_message, misconfigured.vendor_code = error.vendor_message, error.vendor_code
            return misconfigured
        return error

    def _read(self, reply: wire.TokenReply, asked_at: float) -> Token:
        value = reply.access_token
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise UnexpectedReply("CloudLocate's token operation answered without an access token.")
        ttl_s = to_number(reply.expires_in)
        if ttl_s is None or ttl_s <= 0:
            ttl_s = self._settings.token_default_ttl_s
        return Token(
            value=value,
            refresh=reply.refresh_token if isinstance(reply.refresh_token, str) else None,
            issued_at=asked_at,
            # A token that lives for less than the margin would otherwise be fetched for every call.
            renew_at=asked_at + ttl_s - min(_MARGIN_S, ttl_s / 2),
        )
