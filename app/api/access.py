"""Who may call what: API keys as bearer tokens, and the scopes that paths need."""

from collections.abc import Iterable, Mapping

from starlette.requests import Request

from app.access import Actor, Authenticator
from app.access.permissions import check_unrestricted
from app.caller import ANYONE, Caller
from app.errors import PermissionDenied, Unauthenticated
from app.settings import Settings

_OPEN_PATHS = frozenset({"/", "/map", "/healthz", "/readyz", "/openapi.json", "/favicon.ico"})
_OPEN_PREFIXES = ("/docs", "/redoc", "/docs-assets/", "/map-assets/")

ANY_KEY: frozenset[str] = frozenset()
_ADMIN = frozenset({"admin"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})

SCOPES_TO_READ: Mapping[str, frozenset[str]] = {
    "locate": frozenset({"locate"}),
    "periodic": frozenset({"periodic", "reports:read"}),
    "reports": frozenset({"reports:read"}),
    "positions": frozenset({"reports:read"}),
    "devices": frozenset({"reports:read"}),
    "events": frozenset({"reports:read"}),
    "callbacks": frozenset({"callbacks"}),
    "listeners": frozenset({"listeners"}),
    "subscriptions": frozenset({"subscriptions"}),
    "providers": ANY_KEY,
    "metrics": ANY_KEY,
    "keys": _ADMIN,
    "audit": _ADMIN,
}
"""By the first part of a path: the scopes of which one is needed to read. What stands in neither table is for `admin`
alone, so that a route that is forgotten here is closed, not open."""

SCOPES_TO_CHANGE: Mapping[str, frozenset[str]] = {
    "locate": frozenset({"locate"}),
    "periodic": frozenset({"periodic"}),
    "callbacks": frozenset({"callbacks"}),
    "listeners": frozenset({"listeners"}),
    "subscriptions": frozenset({"subscriptions"}),
    "devices": _ADMIN,
    "providers": _ADMIN,
    "keys": _ADMIN,
}
"""The same for every method that changes something."""

NARROWED: Mapping[str, frozenset[str]] = {
    "locate": frozenset({"POST"}),
    "periodic": frozenset({"GET", "POST", "DELETE"}),
    "reports": frozenset({"GET"}),
    "positions": frozenset({"GET"}),
    "devices": frozenset({"GET"}),
    "events": frozenset({"GET"}),
    "callbacks": frozenset({"GET", "POST"}),
    "listeners": frozenset({"GET", "PUT", "POST", "DELETE"}),
    "subscriptions": frozenset({"GET", "POST", "PATCH", "DELETE"}),
    "providers": frozenset({"GET"}),
    "metrics": frozenset({"GET"}),
}
"""By the first part of a path: the methods whose routes show a restricted key what is within its reach, and no more.
All others are closed to restricted keys, so that a route that is forgotten here shows too little, not too much."""


class Access:
    """Authenticates callers."""

    def __init__(self, settings: Settings, authenticator: Authenticator, posting: Iterable[str] = ()) -> None:
        """Take from the settings what is open; with `GATEWAY_AUTH=off` no request needs a key.

        Args:
            posting: The providers that post callbacks; their addresses need no key, but a token.
        """
        self._is_off = settings.auth == "off"
        self._metrics_public = settings.metrics_public
        self._authenticator = authenticator
        self._open_prefixes = (*_OPEN_PREFIXES, *(f"/callbacks/{name}/" for name in posting))

    def is_open(self, path: str) -> bool:
        """Return whether a path is served without a key."""
        if path in _OPEN_PATHS or path.startswith(self._open_prefixes):
            return True
        return path == "/metrics" and self._metrics_public

    async def caller(self, authorization: str | None) -> Caller:
        """Authenticate a request by its Authorization header.

        Raises:
            Unauthenticated: There is no key, or it is not known, revoked or expired.
            Unavailable: The key may be known, and the database is away.
        """
        if self._is_off:
            return ANYONE
        scheme, _, token = (authorization or "").partition(" ")
        key = token.strip()
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("Send your API key in the header: Authorization: Bearer <key>.")
        caller = await self._authenticator.holder(key)
        if caller is None:
            raise Unauthenticated("This API key is unknown, expired or revoked; ask the operator of this gateway.")
        return caller


def check_scope(caller: Caller, method: str, path: str) -> None:
    """Refuse what none of the caller's scopes allows, and what is not narrowed to the reach of a restricted key.

    Raises:
        PermissionDenied: A scope is missing, or the key is restricted.
    """
    needed = scopes_for(method, path)
    if needed and needed.isdisjoint(caller.scopes):
        words = " or ".join(f"`{scope}`" for scope in sorted(needed))
        raise PermissionDenied(f"This needs an API key with the scope {words}.")
    if not caller.reach.is_everything and not is_narrowed(method, path):
        check_unrestricted(caller)


def scopes_for(method: str, path: str) -> frozenset[str]:
    """Return the scopes of which one is needed; none for what every key may do."""
    return (SCOPES_TO_READ if method in _READING else SCOPES_TO_CHANGE).get(_first_part(path), _ADMIN)


def is_narrowed(method: str, path: str) -> bool:
    """Return whether what a route shows is narrowed to the reach of a restricted key."""
    return ("GET" if method in _READING else method) in NARROWED.get(_first_part(path), ())


def _first_part(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else path


def caller_of(request: Request) -> Caller:
    """Return the caller of a request."""
    caller: Caller = request.scope["caller"]
    return caller


def actor_of(request: Request) -> Actor:
    """Return the actor of a request, for the audit trail."""
    return Actor(key_id=caller_of(request).key_id, request_id=request.scope["request_id"])
