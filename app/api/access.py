"""Who may call: API keys as bearer tokens."""

import hmac
from dataclasses import dataclass
from hashlib import sha256

from app.errors import Unauthenticated
from app.settings import Settings

SCOPES = frozenset({"locate", "periodic", "periodic:unlimited", "reports:read", "callbacks", "listeners", "admin"})
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/favicon.ico"})
_OPEN_PREFIXES = ("/docs", "/redoc", "/docs-assets/", "/callbacks/thingspace/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sends a request.

    Attributes:
        key_id: Names the key in records; never the key itself.
    """

    key_id: str
    scopes: frozenset[str]


BOOTSTRAP = Caller(key_id="bootstrap", scopes=SCOPES)
ANYONE = Caller(key_id="anyone", scopes=SCOPES)


class Keys:
    """Knows the API keys."""

    def __init__(self, settings: Settings) -> None:
        """Take the bootstrap key from the settings; with `GATEWAY_AUTH=off` everyone is let in."""
        self._is_off = settings.auth == "off"
        self._metrics_public = settings.metrics_public
        self._bootstrap = sha256(settings.api_key.get_secret_value().encode()).digest() if settings.api_key else None

    def is_open(self, path: str) -> bool:
        """Tell whether a path is served without a key."""
        if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES):
            return True
        return path == "/metrics" and self._metrics_public

    def caller(self, authorization: str | None) -> Caller:
        """Find out who sends a request, from its Authorization header.

        Raises:
            Unauthenticated: There is no key, or it is not known.
        """
        if self._is_off:
            return ANYONE
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("Send your API key in the header: Authorization: Bearer <key>.")
        digest = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        if self._bootstrap is None or not hmac.compare_digest(digest, self._bootstrap):
            raise Unauthenticated("This API key is not known; ask the operator of this gateway for one.")
        return BOOTSTRAP
