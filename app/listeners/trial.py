"""Tries the way from the outside to a listener, with a signed callback of our own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from app import upstream
from app.callbacks.tokens import CallbackTokens
from app.errors import NotFound, ProviderError
from app.ids import new_id
from app.listeners.registration import ListenerRegistry
from app.listeners.urls import ListenerUrls
from app.model import AccountName, Deadline, ProviderName, TransactionId
from app.provider import Provider
from app.storage import listeners
from app.storage.database import Database

_TRIAL_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The outcome of a synthetic callback sent through the public address.

    Attributes:
        arrived: Whether it is in the database.
        status: The HTTP status that came back; None when there was no answer.
        transaction_id: Under which it is to be found among the reports.
        detail: What happened, and what to check.
    """

    arrived: bool
    status: int | None
    duration_ms: int
    transaction_id: TransactionId
    detail: str


class ListenerTest:
    """Tries listeners."""

    def __init__(
        self,
        providers: Sequence[Provider],
        database: Database,
        addresses: CallbackTokens,
        registering: ListenerRegistry,
        *,
        urls: ListenerUrls,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Wire the use case; `transport` replaces the network towards our own public address."""
        self._readers = {provider.name: provider.callbacks for provider in providers}
        self._database = database
        self._addresses = addresses
        self._registering = registering
        self._urls = urls
        self._transport = transport

    async def one(self, account: AccountName, service: str, *, is_admin: bool = False) -> Trial:
        """Send a callback about no device through the public address, and look whether it is stored.

        Args:
            is_admin: Whether the caller may have any address called.

        Raises:
            NotFound: There is no such listener, or its address is not known here.
            PermissionDenied: Its address is not the gateway's.
        """
        listener = await self._registering.find(account, service)
        reader = self._readers[listener.provider]
        if reader is None or listener.url is None:
            raise NotFound("The public address of this listener is not known; set GATEWAY_PUBLIC_URL.")
        url = self._urls.check(listener.url, is_admin=is_admin)
        await self._addresses.refresh()
        transaction_id = TransactionId(f"listener-test-{new_id(datetime.now(UTC))}")
        body = reader.test_message(account, transaction_id)
        secret = self._addresses.secret_of(account, service)
        headers = {"content-type": "application/json", **(reader.sign(body, secret) if secret else {})}
        started = time.perf_counter()
        status, detail = await self._post(listener.provider, url, body, headers)
        async with self._database.transaction() as session:
            arrived = await listeners.has_arrived(session, transaction_id)
        if not arrived and status is not None and status < 300:  # noqa: PLR2004 -- any success
            detail = "something answered, and it was not this gateway: the callback is not in its database"
        return Trial(
            arrived=arrived,
            status=status,
            duration_ms=round((time.perf_counter() - started) * 1000),
            transaction_id=transaction_id,
            detail=detail,
        )

    async def _post(
        self, provider: ProviderName, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int | None, str]:
        http = upstream.http_client(self._transport, connect_timeout_s=5, max_connections=1, name="listener")
        try:
            async with http, upstream.within(Deadline.after(_TRIAL_S), provider):
                with upstream.translated_errors(provider):
                    response = await http.post(url, content=body, headers=headers)
        except ProviderError as error:
            # What keeps the gateway from reaching other machines is nothing to be found out by trying.
            why = f": {error.detail}" if self._urls.is_own(url) else ""
            return None, f"the public address could not be reached{why}"
        if response.is_success:
            return response.status_code, "the callback went the whole way and is stored"
        return response.status_code, "the public address answered, and did not take the callback"
