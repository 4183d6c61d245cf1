"""Finds the address of a callback token: in memory, or in the database if another process made it."""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import structlog

from app.errors import NotFound
from app.model import AccountName, ProviderName
from app.provider import CallbackReader, Provider
from app.storage import listeners
from app.storage.database import Database
from app.storage.seal import Seal
from app.storage.tables import ListenerRow

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where callbacks come in, and what their token stands for.

    Attributes:
        token_digest: SHA-256 of the token.
        secret: What callbacks are signed with; None where it is not known.
    """

    provider: ProviderName
    account: AccountName | None
    service: str
    reader: CallbackReader = field(repr=False)
    token_digest: bytes = field(default=b"", repr=False)
    secret: str | None = field(default=None, repr=False)


def _digest(token: str) -> bytes:
    # Looking a digest up takes the same time for near misses and for far ones.
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


class CallbackTokens:
    """All addresses at which callbacks may come in."""

    def __init__(self, providers: Sequence[Provider], database: Database, seal: Seal) -> None:
        self._providers = {provider.name: provider for provider in providers if provider.callbacks is not None}
        self._database = database
        self._seal = seal
        self._fixed = {
            address.token_digest: address for address in map(_fixed_address, self._providers.values()) if address
        }
        self._known: Mapping[bytes, Address] = self._fixed
        # Tokens that have matched; a guess is compared with one only where its salted hash is the same.
        self._met: dict[tuple[str, str], Address] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def known(self, provider: str, token: str) -> Address | None:
        """Find an address among those this process has seen already."""
        if (met := self._met.get((provider, token))) is not None:
            return met
        wanted = _digest(token)
        address = self._known.get(wanted)
        if address is None or address.provider != provider or not hmac.compare_digest(address.token_digest, wanted):
            return None
        self._met[provider, token] = address
        return address

    async def find(self, provider: str, token: str) -> Address:
        """Find an address, asking the database when this process has not seen it.

        Raises:
            NotFound: There is no such token.
            Unavailable: The database cannot be asked.
        """
        # Requests with unknown tokens cause one look-up at a time, never more. One that was under way already may have
        # begun before the token was made, so its word is not the last.
        was_under_way = await self._refreshed()
        if was_under_way and self.known(provider, token) is None:
            await self._refreshed()
        address = self.known(provider, token)
        if address is None:
            raise NotFound("There is no listener at this address.")
        return address

    async def _refreshed(self) -> bool:
        """Wait for a look-up, and return whether another request had begun it."""
        was_under_way = self._refreshing is not None and not self._refreshing.done()
        if self._refreshing is None or not was_under_way:
            self._refreshing = asyncio.create_task(self.refresh())
        await asyncio.shield(self._refreshing)
        return was_under_way

    def of_stored(self, provider: str, account: str | None, service: str) -> Address | None:
        """Describe the address of a stored callback, whose listener may have been removed since."""
        one = self._providers.get(ProviderName(provider))
        if one is None or one.callbacks is None:
            return None
        name = AccountName(account) if account else None
        return Address(provider=one.name, account=name, service=service, reader=one.callbacks)

    def secret_of(self, account: str, service: str) -> str | None:
        """Find what callbacks of an account and service are signed with."""
        for address in self._known.values():
            if (address.account, address.service) == (account, service):
                return address.secret
        return None

    async def refresh(self) -> None:
        """Read the listeners that all processes have registered.

        Raises:
            Unavailable: The database cannot be asked.
        """
        async with self._database.transaction() as session:
            rows = await listeners.every(session)
        addresses = [address for address in map(self._to_address, rows) if address is not None]
        known = self._fixed | {address.token_digest: address for address in addresses}
        for digest, fixed in self._fixed.items():
            # Registered through the gateway as well: what ThingSpace handed out counts unless a setting overrides it.
            known[digest] = replace(known[digest], secret=fixed.secret or known[digest].secret)
        self._known, self._met = known, {}

    def _to_address(self, row: ListenerRow) -> Address | None:
        provider = self._providers.get(ProviderName(row.provider))
        if provider is None or provider.callbacks is None:
            return None
        return Address(
            provider=provider.name,
            account=AccountName(row.account),
            service=row.service,
            reader=provider.callbacks,
            token_digest=_digest(row.token),
            secret=self._opened(row, provider),
        )

    def _opened(self, row: ListenerRow, provider: Provider) -> str | None:
        if row.sealed_secret is None:
            return None
        secret = self._seal.decrypt(row.sealed_secret, sealed_with=provider.key_material)
        if secret is None:
            log.warning("listener secret cannot be opened: register again", provider=row.provider, service=row.service)
        return secret.decode() if secret else None


def _fixed_address(provider: Provider) -> Address | None:
    if provider.callbacks is None or provider.listeners is None or provider.callbacks.fixed_token is None:
        return None
    return Address(
        provider=provider.name,
        account=provider.default_account,
        service=provider.listeners.services[0],
        reader=provider.callbacks,
        token_digest=_digest(provider.callbacks.fixed_token),
        secret=provider.callbacks.fixed_secret,
    )
