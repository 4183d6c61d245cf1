"""Verizon ThingSpace: locates devices by IMEI and MDN, once or periodically, and reports by callbacks."""

from collections.abc import Iterator, Sequence
from typing import Literal, cast

import httpx

from app.model import AccountName
from app.provider import Health, Provider, Vault
from app.providers.thingspace.callbacks import ThingSpaceCallbacks
from app.providers.thingspace.client import Client
from app.providers.thingspace.directory import ThingSpaceDirectory
from app.providers.thingspace.listeners import ThingSpaceListeners
from app.providers.thingspace.locator import ThingSpaceLocator
from app.providers.thingspace.settings import NAME, ThingSpaceSettings
from app.providers.thingspace.tracker import ThingSpaceTracker
from app.upstream import InMemoryVault, http_client

__all__ = ["NAME", "Settings", "build"]

Settings = ThingSpaceSettings
FAILING_AFTER = 3

State = Literal["ready", "not_configured", "paused", "cooling_down", "failing"]


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
        assumed_confidence_pct=settings.radius_confidence,
        health=lambda: to_health(client, settings.missing),
        reset=client.reset,
        aclose=aclose,
    )


def to_health(client: Client, missing: Sequence[str]) -> Health:
    """Sum up tokens and recent calls, without secrets; `missing` names the variables that are not set."""
    tokens = client.tokens.both
    trouble = client.trouble
    return Health(
        state="not_configured" if missing else _to_state(client),
        token_age_s=max((age_s for token in tokens if (age_s := token.age_s) is not None), default=None),
        cooldown_s=max(token.cooldown_s for token in tokens) or None,
        last_error=trouble.code if trouble else None,
        last_error_at=trouble.at if trouble else None,
        notes=tuple(_notes(client, missing)),
    )


def _notes(client: Client, missing: Sequence[str]) -> Iterator[str]:
    if missing:
        yield f"set {', '.join(missing)}"
    for token in client.tokens.both:
        if token.paused:
            yield (
                f"ThingSpace rejected the credentials for the {token.name} twice; they are not tried again before they "
                "are changed or the provider is reset."
            )


def _to_state(client: Client) -> State:
    tokens = client.tokens.both
    if any(token.paused for token in tokens):
        return "paused"
    if any(token.cooldown_s for token in tokens):
        return "cooling_down"
    return "failing" if client.failures >= FAILING_AFTER else "ready"
