"""The summary that `serve` prints when it starts: its address, database, providers and listeners."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from app.api.rendering import instant
from app.errors import DatabaseUnusable
from app.provider import Provider
from app.registry import PROVIDERS
from app.settings import Settings
from app.startup.database import DatabaseState
from app.storage import listeners
from app.storage.database import Database
from app.storage.tables import ListenerRow
from app.storage.urls import Target, target_of

_EVERY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 -- compared with, not listened on


async def summarise(settings: Settings, url: str, state: DatabaseState | DatabaseUnusable) -> dict[str, Any]:
    """Sum up a gateway that is about to start, without secrets; listeners are null if the database cannot be asked."""
    built = [module.build() for module in PROVIDERS]
    heard_at = None if isinstance(state, DatabaseUnusable) else await _listeners(url, built)
    providers = [_to_provider(one) for one in built]
    for one in built:
        await one.aclose()
    address = address_of(settings)
    return {
        "version": version("location-gateway"),
        "address": address,
        "host": settings.host,
        "docs": f"{address}/docs",
        "map": f"{address}/map",
        "publicUrl": settings.public_url,
        "database": _to_database(settings, target_of(url), state),
        "auth": _to_auth(settings),
        "workers": settings.workers,
        "providers": providers,
        "listeners": heard_at,
    }


def address_of(settings: Settings) -> str:
    """Write an address at which the gateway can be opened on this machine."""
    host = "127.0.0.1" if settings.host in _EVERY_ADDRESS else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _to_database(settings: Settings, target: Target, state: DatabaseState | DatabaseUnusable) -> dict[str, Any]:
    where = {
        "kind": "embedded" if settings.database_url is None else "configured",
        "address": target.address,
        "name": target.name,
        "dataDir": str(settings.data_dir.absolute()) if settings.database_url is None else None,
    }
    if isinstance(state, DatabaseUnusable):
        return where | {"version": None, "revision": None, "problem": state.detail}
    return where | {"version": state.version, "revision": state.revision, "problem": None}


async def _listeners(url: str, providers: Sequence[Provider]) -> list[dict[str, Any]]:
    database = Database(url, pool_size=1)
    try:
        async with database.transaction() as session:
            registered = [_to_listener(row) for row in await listeners.every(session)]
    finally:
        await database.aclose()
    return registered + [fixed for fixed in map(_to_fixed_listener, providers) if fixed is not None]


def _to_auth(settings: Settings) -> str:
    if settings.auth == "off":
        return "off"
    return "keys" if settings.api_key is None else "bootstrap"


def _to_provider(provider: Provider) -> dict[str, Any]:
    health = provider.health()
    return {"name": provider.name, "state": health.state, "notes": list(health.notes)}


def _to_listener(row: ListenerRow) -> dict[str, Any]:
    return {
        "account": row.account,
        "service": row.service,
        "registeredAt": instant(row.registered_at) if row.registered_at else None,
        "problem": row.problem,
    }


def _to_fixed_listener(provider: Provider) -> dict[str, Any] | None:
    if provider.callbacks is None or provider.listeners is None or provider.callbacks.fixed_token is None:
        return None
    service = provider.listeners.services[0]
    return {"account": provider.default_account, "service": service, "registeredAt": None, "problem": None}
