"""u-blox CloudLocate, service to service: raw measurements in, a position out."""

import httpx

from app.provider import Provider, Vault
from app.providers.cloudlocate.client import CloudLocate
from app.providers.cloudlocate.mapping import NAME
from app.providers.cloudlocate.settings import CloudLocateSettings
from app.upstream import http_client

__all__ = ["NAME", "Settings", "build"]

Settings = CloudLocateSettings


def build(transport: object | None = None, *, vault: Vault | None = None) -> Provider:  # noqa: ARG001 - see below
    """Build from `CLOUDLOCATE_*` variables; `transport` replaces the network.

    The vault stays unused: nothing counts logins here, so every replica may hold a token of its own.
    """
    if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport):
        raise TypeError("transport must be an httpx.AsyncBaseTransport")
    settings = CloudLocateSettings()
    http = http_client(
        transport,
        connect_timeout_s=settings.connect_timeout_s,
        max_connections=settings.max_concurrency,
        name=NAME,
    )
    locator = CloudLocate(http, settings)
    return Provider(
        name=NAME,
        configured=not settings.missing,
        locator=locator,
        health=locator.health,
        reset=locator.reset,
        aclose=locator.aclose,
    )
