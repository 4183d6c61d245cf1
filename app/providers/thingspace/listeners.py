"""Registration of our callback address (reference, section 8)."""

import re
from urllib.parse import quote

import httpx

from app import identifiers
from app.errors import MalformedJson, ProviderRefused, UnexpectedReply
from app.model import AccountName, Deadline, Registration
from app.providers.thingspace import reading
from app.providers.thingspace.client import Call, Client
from app.providers.thingspace.settings import NAME, ThingSpaceSettings
from app.providers.thingspace.wire import RegistrationRequest, to_json

SERVICES = ("DeviceLocation", "Location")

_NEVER_THE_SECRET = frozenset({"set-cookie", "vz-m2m-token", "authorization", "x-csrf-token", "x-xsrf-token"})
_LIKELY_NAMES = (
    re.compile(r"(x-)?(.*-)?shared-?(secret|key)(-.*)?"),
    re.compile(r".*secret.*"),
    re.compile(r".*(hmac|signing|signature|callback)-?key.*"),
    re.compile(r"(.*-)?token(-.*)?"),
)
_USUAL_HEADERS = frozenset(
    [
        "age",
        "allow",
        "alt-svc",
        "cache-control",
        "connection",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-security-policy",
        "content-type",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "last-modified",
        "link",
        "location",
        "nel",
        "p3p",
        "permissions-policy",
        "pragma",
        "referrer-policy",
        "report-to",
        "retry-after",
        "server",
        "server-timing",
        "strict-transport-security",
        "trailer",
        "transfer-encoding",
        "vary",
        "via",
        "warning",
        "x-amz-cf-id",
        "x-amz-cf-pop",
        "x-cache",
        "x-content-type-options",
        "x-correlation-id",
        "x-dns-prefetch-control",
        "x-envoy-upstream-service-time",
        "x-frame-options",
        "x-powered-by",
        "x-request-id",
        "x-runtime",
        "x-served-by",
        "x-timer",
        "x-transaction-id",
        "x-xss-protection",
    ]
)
_UNKNOWN_LISTENER = re.compile(
    r"not[ _]?(found|registered|exist)|(does not|doesn't) exist|no such|unknown", re.IGNORECASE
)


class ThingSpaceListeners:
    """Keeps our callback address registered."""

    def __init__(self, client: Client, settings: ThingSpaceSettings) -> None:
        self._client = client
        self._secret_header = settings.callback_secret_header

    @property
    def services(self) -> tuple[str, ...]:
        """Position reports come on `DeviceLocation`, notices on `Location`."""
        return SERVICES

    async def register(self, account: AccountName, service: str, url: str, *, deadline: Deadline) -> Registration:
        """Register an address; which header carries the secret is not documented, so the names of all are kept."""
        call = Call(
            method="POST",
            path=f"/callbacks/{quote(account, safe='')}",
            operation="register listener",
            body=to_json(RegistrationRequest(name=service, url=url)),
            account=account,
        )

        def to_registration(response: httpx.Response) -> Registration:
            secret = find_secret(response.headers, self._secret_header)
            return Registration(
                account=account, service=service, url=url, secret=secret, header_names=tuple(response.headers)
            )

        return await self._client.call(call, to_registration, deadline=deadline)

    async def registered(self, account: AccountName, *, deadline: Deadline) -> list[Registration]:
        """List registrations, in either documented form."""
        path = f"/callbacks/{quote(account, safe='')}"
        call = Call(method="GET", path=path, operation="list listeners", account=account, is_safe=True)
        listed = await self._client.call(call, _to_list, deadline=deadline)
        return [found for element in listed if (found := _to_registration(account, element)) is not None]

    async def remove(self, account: AccountName, service: str, *, deadline: Deadline) -> None:
        """Remove a registration; any success will do, whatever the body."""
        path = f"/callbacks/{quote(account, safe='')}/name/{quote(service, safe='')}"
        call = Call(method="DELETE", path=path, operation="remove listener", account=account, is_safe=True)
        try:
            await self._client.call(call, httpx.Response.read, deadline=deadline)
        except ProviderRefused as error:
            said = f"{error.vendor_code} {error.vendor_message or ''}"
            if not _UNKNOWN_LISTENER.search(said) and said.strip() != f"HTTP {httpx.codes.NOT_FOUND.value}":
                raise


def find_secret(headers: httpx.Headers, configured: str | None) -> str | None:
    """Find the shared secret: in the configured header, else under the likeliest name, else in the one odd header."""
    if configured is not None:
        return headers.get(configured) or None
    for likely in _LIKELY_NAMES:
        for name, value in headers.items():
            if name not in _NEVER_THE_SECRET and value.strip() and likely.fullmatch(name):
                return value.strip()
    # It is handed out only once, so a lone header of an unheard-of name is taken for it rather than lost.
    strangers = [value.strip() for name, value in headers.items() if name not in _USUAL_HEADERS | _NEVER_THE_SECRET]
    return strangers[0] if len(strangers) == 1 and strangers[0] else None


def _to_list(response: httpx.Response) -> list[object]:
    if not response.content.strip():
        return []
    try:
        value = reading.decode(response.content)
    except MalformedJson as error:
        raise UnexpectedReply("ThingSpace's list of listeners could not be read.", provider=NAME) from error
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _to_registration(account: AccountName, element: object) -> Registration | None:
    found = reading.members(element)
    service = reading.text(reading.first(found, "name", "servicename"))
    if service is None:
        return None
    named = identifiers.account(reading.text(reading.first(found, "accountname", "account")) or "")
    return Registration(
        account=AccountName(named) if named else account, service=service, url=reading.text(found.get("url")) or ""
    )
