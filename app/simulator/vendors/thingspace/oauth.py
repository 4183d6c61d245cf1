"""OAuth: one access token at a time, the same for everybody until its hour is over."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.errors import gateway_fault, oauth_error
from app.simulator.vendors.thingspace.fault_values import amount
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.vendors.thingspace.routing import OAUTH, route

FAULTS = {
    "bearer_revoked": "ThingSpace, any call: the access token is revoked before its time; "
    '`value` "number" or "xml" writes the fault in one of its rarer forms',
    "bearer_refused": "ThingSpace, any call: 401 as for a wrong access token, although it remains valid",
    "bearer_short_lived": "ThingSpace token: the new token lives `value` seconds only (5 by default)",
    "bearer_without_expiry": "ThingSpace token: the answer has no expires_in",
    "client_rejected": "ThingSpace token: 401 invalid_client, whatever the credentials",
}


@dataclass(frozen=True, slots=True)
class _Bearer:
    token: str
    expires_at: datetime


class Bearers:
    """The access token in force."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._bearer: _Bearer | None = None

    def issue(self) -> tuple[str, int]:
        """Return the token in force, or else a new one, and the seconds that are left of it."""
        now = self._state.clock.now()
        short_lived = self._state.faults.take("bearer_short_lived")
        if short_lived or self._bearer is None or self._bearer.expires_at <= now:
            lifetime_s = amount(short_lived, 5) if short_lived else self._state.options.bearer_lifetime_s
            token = self._state.part(Identifiers).secret("bearer")
            self._bearer = _Bearer(token, now + timedelta(seconds=lifetime_s))
        return self._bearer.token, int((self._bearer.expires_at - now).total_seconds())

    def revoke(self, token: str) -> None:
        """End a token before its time; one that is not in force is left alone."""
        if self._bearer is not None and self._bearer.token == token:
            self._bearer = None

    def check(self, request: Request) -> None:
        """Refuse a call without the token in force."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            description = "Make sure your API invocation call has a header: 'Authorization : Bearer ACCESS_TOKEN'"
            raise gateway_fault(900902, "Missing Credentials", description)
        form = None
        if fault := self._state.faults.take("bearer_revoked"):
            self._bearer, form = None, fault.value
        if not self._is_valid(token.strip()) or self._state.faults.take("bearer_refused"):
            description = "Access failure for API: the access token is wrong, revoked or expired"
            raise gateway_fault(900901, "Invalid Credentials", description, form=form)

    def _is_valid(self, token: str) -> bool:
        bearer = self._bearer
        return bearer is not None and bearer.token == token and bearer.expires_at > self._state.clock.now()


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the token service."""
    return [
        route(state, "POST", f"{OAUTH}/oauth2/token", _token),
        route(state, "POST", f"{OAUTH}/oauth2/revoke", _revoke),
    ]


async def _token(state: State, request: Request) -> Response:
    await _client_form(state, request)
    token, left_s = state.part(Bearers).issue()
    expires_in = str(left_s) if state.spells("numbers_as_strings") else left_s
    answer = {"access_token": token, "scope": "default", "token_type": "Bearer", "expires_in": expires_in}
    if state.faults.take("bearer_without_expiry"):
        del answer["expires_in"]
    return reply(answer, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


async def _revoke(state: State, request: Request) -> Response:
    form = await _client_form(state, request)
    if not form.get("token"):
        raise oauth_error("invalid_request", "Missing parameters: token", status=400)
    state.part(Bearers).revoke(form["token"])
    return Response(status_code=200, headers={"RevokedAccessToken": form["token"]})


async def _client_form(state: State, request: Request) -> dict[str, str]:
    options = state.options
    expected = (options.thingspace_key, options.thingspace_secret)
    if _basic(request) != expected or state.faults.take("client_rejected"):
        raise oauth_error("invalid_client", "Client authentication failed", status=401)
    fields = parse_qs((await request.body()).decode("latin-1"))
    form = {name: values[0] for name, values in fields.items()}
    if "grant_type" not in form:
        raise oauth_error("invalid_request", "Missing grant_type parameter value", status=400)
    if form["grant_type"] != "client_credentials":
        raise oauth_error("unsupported_grant_type", "Unsupported grant_type value", status=400)
    return form


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return key, secret
