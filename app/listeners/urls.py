"""Which addresses may be registered as our listeners, and sent a synthetic callback."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from app.errors import FieldError, InvalidArgument, PermissionDenied
from app.settings import is_loopback

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerUrls:
    """The addresses of this gateway, as its settings name them.

    Attributes:
        public: The address under which providers reach the gateway; None where it is not known.
        allowed: Other addresses that lead here, such as those of proxies, and what begins with one of them.
    """

    public: str | None = None
    allowed: Sequence[str] = ()

    def check(self, text: str, *, is_admin: bool) -> str:
        """Return an address that may be registered and called.

        The gateway calls the chosen address, so only administrators may name any but the gateway's own.

        Raises:
            InvalidArgument: It is no https address.
            PermissionDenied: It is neither the gateway's public address nor an allowed one.
        """
        url = _parsed(text)
        if not is_admin and not any(_leads_into(url, own) for own in (self.public, *self.allowed) if own):
            detail = (
                "must be at GATEWAY_PUBLIC_URL or begin with one of GATEWAY_LISTENER_URLS; leave it out for the default"
            )
            raise PermissionDenied(
                "Another address than the gateway's own needs an API key with the scope `admin`.",
                errors=(FieldError(pointer="/url", code="OUT_OF_REACH", detail=detail),),
            )
        return text

    def is_own(self, text: str) -> bool:
        """Return whether an address is at the gateway's public one."""
        return self.public is not None and _leads_into(_parsed(text), self.public)


def _parsed(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise _not_https() from None
    if not url.host or url.userinfo or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))):
        raise _not_https()
    return url


def _leads_into(url: httpx.URL, own: str) -> bool:
    """Return whether an address is at the origin of another one, and in its path."""
    base = httpx.URL(own)
    folder = base.path.rstrip("/") + "/"
    is_inside = url.path.startswith(folder) and ".." not in url.path.split("/")
    return _origin(url) == _origin(base) and is_inside


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def _not_https() -> InvalidArgument:
    detail = "must begin with https:// (http:// is for loopback addresses only) and hold no user name"
    return InvalidArgument(
        "The address cannot be registered.",
        errors=(FieldError(pointer="/url", code="INVALID_FORMAT", detail=detail),),
    )
