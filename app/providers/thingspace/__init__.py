"""Verizon ThingSpace: locates devices by IMEI and MDN, once or periodically, and reports by callbacks."""

from typing import cast

import httpx

from app.model import AccountName
from app.provider import Provider, Vault
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.client import Client
from app.providers.thingspace.directory import ThingSpaceDirectory
from app.providers.thingspace.health import to_health
from app.providers.thingspace.listeners import ThingSpaceListeners
from app.providers.thingspace.locator import ThingSpaceLocator
from app.providers.thingspace.settings import NAME, ThingSpaceSettings
from app.providers.thingspace.tracker import ThingSpaceTracker
from app.upstream import InMemoryVault, http_client

__all__ = ["NAME", "Settings", "build"]

Settings = ThingSpaceSettings


def build(transport: object | None = None, *, vault: Vault | None = None) -> Provider:
    """Build from `THINGSPACE_*` variables; `transport` replaces the network, `vault` is shared with the replicas."""
    settings = ThingSpaceSettings()
    http = http_client(
        cast("httpx.AsyncBaseTransport | None", transport),
        connect_timeout_s=settings.connect_timeout_s,
        max_connections=settings.max_connections,
        name=NAME,
    )
    client = Client(http, settings, vault or InMemoryVault())

    async def aclose() -> None:
        await client.paid.aclose()
        await client.tokens.aclose()
        await http.aclose()

    return Provider(
        name=NAME,
        configured=settings.configured,
        locator=ThingSpaceLocator(client, settings.account),
        tracker=ThingSpaceTracker(client, settings),
        callbacks=ThingSpaceCallbacks(settings),
        listeners=ThingSpaceListeners(client, settings),
        directory=ThingSpaceDirectory(client) if settings.directory else None,
        key_material=settings.key_material,
        default_account=AccountName(settings.account) if settings.account else None,
        health=lambda: to_health(client, settings.missing),
        reset=client.reset,
        aclose=aclose,
    )
