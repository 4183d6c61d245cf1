"""Registers our listeners at the providers, and sees that the registrations still point at us."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.callbacks.tokens import CallbackTokens
from app.errors import FieldError, InvalidArgument, NotFound, ProviderError, ProviderNotConfigured
from app.listeners.urls import ListenerUrls
from app.model import AccountName, Deadline, ProviderName
from app.provider import Listeners, Provider
from app.storage import listeners
from app.storage.database import Database
from app.storage.events import NewEvent, append
from app.storage.seal import Seal
from app.storage.tables import ListenerRow

log = structlog.get_logger()

_CALL_S = 60.0
_CHECK_EVERY = timedelta(minutes=10)
_TOKEN_BYTES = 32
_UNSIGNED = (
    "the registration returned no header that is certainly the secret, so signatures cannot be checked; "
    "name its header in the settings (headerNames lists those that came) and register again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listener as operators see it.

    Attributes:
        managed: Whether the gateway registers it; false for the one fixed by the settings.
        has_secret: Whether the key that callbacks are signed with is known.
        header_names: The headers that came with the registration, names only.
        problem: What the last check found wrong.
    """

    provider: ProviderName
    account: AccountName | None
    service: str
    url: str | None
    managed: bool
    has_secret: bool
    registered_at: datetime | None = None
    checked_at: datetime | None = None
    header_names: tuple[str, ...] = ()
    problem: str | None = None


Describe = Callable[[Listener], Mapping[str, Any]]


class ListenerRegistry:
    """Shows, registers, removes and checks listeners."""

    def __init__(
        self,
        providers: Sequence[Provider],
        database: Database,
        seal: Seal,
        addresses: CallbackTokens,
        *,
        urls: ListenerUrls,
        describe: Describe,
    ) -> None:
        """Wire the use case.

        Args:
            describe: Writes a listener as callers see it, for events.
        """
        self._providers = [provider for provider in providers if provider.listeners and provider.callbacks]
        self._database = database
        self._seal = seal
        self._addresses = addresses
        self._urls = urls
        self._describe = describe

    async def every(self) -> list[Listener]:
        """List the listeners: those registered by the gateway, and those fixed by the settings."""
        async with self._database.transaction() as session:
            managed = [to_listener(row) for row in await listeners.every(session)]
        taken = {(one.account, one.service) for one in managed}
        fixed = [self._fixed_listener(provider) for provider in self._providers]
        return managed + [one for one in fixed if one is not None and (one.account, one.service) not in taken]

    async def find(self, account: str, service: str) -> Listener:
        """Find one listener.

        Raises:
            NotFound: There is no such listener.
        """
        for one in await self.every():
            if (one.account, one.service) == (account, service):
                return one
        raise NotFound("There is no such listener; GET /listeners lists them.")

    async def register(
        self, account: AccountName, service: str, url: str | None, *, is_admin: bool = False
    ) -> Listener:
        """Register our address for an account and service; again, to renew it.

        The token is committed before the provider is called, so that no callback meets an unknown address.

        Args:
            is_admin: Whether the caller may register any address.

        Raises:
            InvalidArgument: There is no such service, or no address to register.
            PermissionDenied: The address is not the gateway's.
            ProviderError: The provider refused or could not be reached.
        """
        provider, abilities = self._responsible(service)
        token = self._fixed_token(provider, account, service) or secrets.token_urlsafe(_TOKEN_BYTES)
        kept = {"provider": provider.name, "account": account, "service": service, "token": token}
        async with self._database.transaction() as session:
            row = await listeners.reserve(session, **kept)
            row.url = address = self._urls.check(url or self._url_for(provider.name, row.token), is_admin=is_admin)
        registration = await abilities.register(account, service, address, deadline=Deadline.after(_CALL_S))
        log.info("listener registered", provider=provider.name, service=service, headers=registration.header_names)
        async with self._database.transaction() as session:
            row = await listeners.reserve(session, **kept)
            row.registered_at = row.checked_at = datetime.now(UTC)
            row.header_names = list(registration.header_names)
            row.problem = _UNSIGNED if registration.secret is None else None
            if registration.secret is not None:
                row.sealed_secret = self._seal.encrypt(registration.secret.encode(), sealed_with=provider.key_material)
            if row.is_lost:
                row.is_lost = False
                await append(session, [self._event(row, row.registered_at)])
            listener = to_listener(row)
        await self._addresses.refresh()
        return listener

    async def remove(self, account: AccountName, service: str) -> None:
        """Remove our registration at the provider, and forget its token.

        Raises:
            NotFound: There is no such listener.
            ProviderError: The provider refused or could not be reached.
        """
        _, abilities = self._responsible(service)
        await self.find(account, service)
        await abilities.remove(account, service, deadline=Deadline.after(_CALL_S))
        async with self._database.transaction() as session:
            await listeners.forget(session, account, service)
        await self._addresses.refresh()

    async def check(self) -> None:
        """Compare the registrations that were not checked for a while with those at the provider."""
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            due = [to_listener(row) for row in await listeners.claim_due(session, now, now - _CHECK_EVERY)]
        for listener in due:
            problem, is_lost = await self._problem_of(listener)
            if problem is not None:
                log.warning("listener problem", provider=listener.provider, service=listener.service, problem=problem)
            account, service = listener.account or "", listener.service
            async with self._database.transaction() as session:
                changed = await listeners.note_check(session, account, service, problem, is_lost=is_lost)
                if changed is not None:
                    await append(session, [self._event(changed, now)])

    def _event(self, row: ListenerRow, at: datetime) -> NewEvent:
        data = dict(self._describe(to_listener(row)))
        # Events are read, and delivered, by callers who may not know where callbacks are accepted.
        data["url"] = row.url and row.url.replace(row.token, "…")
        return NewEvent(
            type="listener.lost" if row.is_lost else "listener.regained",
            subject=f"listener/{row.account}/{row.service}",
            at=at,
            data=data,
            account=row.account,
        )

    async def _problem_of(self, listener: Listener) -> tuple[str | None, bool | None]:
        """Find out what is wrong with a registration, and whether it is lost; None if unknown."""
        try:
            _, abilities = self._responsible(listener.service)
            registered = await abilities.registered(
                AccountName(listener.account or ""), deadline=Deadline.after(_CALL_S)
            )
        except (ProviderError, InvalidArgument) as error:
            return f"the registration could not be checked: {error.title}", None
        for one in registered:
            if one.service.lower() == listener.service.lower():
                is_ours = one.url == listener.url
                return None if is_ours else "the provider calls another address; register again", not is_ours
        return "the provider has no registration; register again", True

    def _responsible(self, service: str) -> tuple[Provider, Listeners]:
        services: list[str] = []
        for provider in self._providers:
            assert provider.listeners is not None
            if service in provider.listeners.services:
                if not provider.configured:
                    raise ProviderNotConfigured("Its settings are incomplete; see /providers.", provider=provider.name)
                return provider, provider.listeners
            services.extend(provider.listeners.services)
        detail = f"must be one of: {', '.join(services)}"
        raise InvalidArgument(
            "There is no such callback service.",
            errors=(FieldError(pointer="/service", code="UNKNOWN_VALUE", detail=detail),),
        )

    def _url_for(self, provider: ProviderName, token: str) -> str:
        if self._urls.public is None:
            detail = "send the address under which the provider reaches this gateway, or set GATEWAY_PUBLIC_URL"
            raise InvalidArgument(
                "The gateway does not know its public address.",
                errors=(FieldError(pointer="/url", code="MISSING", detail=detail),),
            )
        return f"{self._urls.public}/callbacks/{provider}/{token}"

    @staticmethod
    def _fixed_token(provider: Provider, account: AccountName, service: str) -> str | None:
        assert provider.callbacks is not None
        assert provider.listeners is not None
        is_fixed = account == provider.default_account and service == provider.listeners.services[0]
        return provider.callbacks.fixed_token if is_fixed else None

    def _fixed_listener(self, provider: Provider) -> Listener | None:
        assert provider.callbacks is not None
        assert provider.listeners is not None
        token = provider.callbacks.fixed_token
        if token is None:
            return None
        return Listener(
            provider=provider.name,
            account=provider.default_account,
            service=provider.listeners.services[0],
            url=f"{self._urls.public}/callbacks/{provider.name}/{token}" if self._urls.public else None,
            managed=False,
            has_secret=provider.callbacks.fixed_secret is not None,
        )


def to_listener(row: ListenerRow) -> Listener:
    """Turn a row into what operators see."""
    return Listener(
        provider=ProviderName(row.provider),
        account=AccountName(row.account),
        service=row.service,
        url=row.url,
        managed=True,
        has_secret=row.sealed_secret is not None,
        registered_at=row.registered_at,
        checked_at=row.checked_at,
        header_names=tuple(row.header_names or ()),
        problem=row.problem,
    )
