"""OAuth2 at CloudLocate: one token operation, three grants, opaque tokens; and HTTP Basic, which needs none of it."""

import base64
import binascii
import hashlib
import itertools
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from app.simulator.state import State
from app.simulator.vendors.cloudlocate.exchange import answer, header, read_body
from app.simulator.vendors.cloudlocate.refusal import bad_credentials

FAULTS = {
    "cloudlocate_token_revoked": "CloudLocate position: the bearer is forgotten before its time; 401",
    "cloudlocate_token_rejected": "CloudLocate token: 401 invalid_client",
    "cloudlocate_refresh_rejected": "CloudLocate token: 400 invalid_grant for the grant refresh_token",
    "cloudlocate_token_no_expiry": "CloudLocate token: the answer has no expires_in",
    "cloudlocate_token_text_expiry": "CloudLocate token: expires_in is a string",
    "cloudlocate_token_no_refresh": "CloudLocate token: the answer has no refresh_token",
    "cloudlocate_token_lower_case": "CloudLocate token: token_type is bearer in lower case",
}
_NO_STORE = (b"cache-control", b"no-store")


class TokenRefused(Exception):
    """An error of the token operation, by its code in RFC 6749."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Doorkeeper:
    """Knows the credentials of the Thing and the tokens given out for them."""

    def __init__(self, state: State) -> None:
        state.faults.describe(FAULTS)
        options = state.options
        self._state = state
        self._user = (options.cloudlocate_username, options.cloudlocate_password)
        self._basic = b"Basic " + base64.b64encode(":".join(self._user).encode())
        self._expiries: dict[bytes, datetime] = {}
        self._refresh_tokens: set[str] = set()
        self._numbers = itertools.count()

    def admit(self, authorization: bytes) -> None:
        """Let a position call pass.

        Raises:
            Refused: The credentials are missing, wrong or expired.
        """
        if authorization == self._basic:
            return
        scheme, _, value = authorization.partition(b" ")
        match scheme.lower():
            case b"bearer" if self._is_live(value.strip()):
                return
            case b"bearer":
                raise bad_credentials(self._state.options, "Bearer")
            case b"basic" if _basic_pair(value) == self._user:
                return
        raise bad_credentials(self._state.options, "Basic")

    def grant(self, authorization: bytes, body: bytes) -> dict[str, Any]:
        """Answer the token operation.

        Raises:
            TokenRefused: With the code that RFC 6749 has for it.
        """
        if self._state.faults.take("cloudlocate_token_rejected"):
            raise TokenRefused(401, "invalid_client")
        form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        pair = _presented(authorization, form)
        if pair is not None and pair != self._user:
            raise TokenRefused(401, "invalid_client")
        match form.get("grant_type"):
            case None:
                raise TokenRefused(400, "invalid_request")
            case "client_credentials" if pair is None:
                raise TokenRefused(401, "invalid_client")
            case "password" if (form.get("username"), form.get("password")) != self._user:
                raise TokenRefused(400, "invalid_grant")
            case "refresh_token":
                self._use_refresh_token(form.get("refresh_token", ""))
            case "client_credentials" | "password":
                pass
            case _:
                raise TokenRefused(400, "unsupported_grant_type")
        return self._issue()

    def _is_live(self, token: bytes) -> bool:
        if self._state.faults.take("cloudlocate_token_revoked"):
            self._expiries.pop(token, None)
        expires_at = self._expiries.get(token)
        return expires_at is not None and self._state.clock.now() < expires_at

    def _use_refresh_token(self, token: str) -> None:
        if token not in self._refresh_tokens or self._state.faults.take("cloudlocate_refresh_rejected"):
            raise TokenRefused(400, "invalid_grant")
        self._refresh_tokens.remove(token)

    def _issue(self) -> dict[str, Any]:
        faults, lifetime_s = self._state.faults, self._state.options.cloudlocate_token_lifetime_s
        access, refresh = self._new_token(), self._new_token()
        now = self._state.clock.now()
        self._expiries = {token: end for token, end in self._expiries.items() if end > now}
        self._expiries[access.encode()] = now + timedelta(seconds=lifetime_s)
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "bearer" if faults.take("cloudlocate_token_lower_case") else "Bearer",
        }
        if not faults.take("cloudlocate_token_no_expiry"):
            expires_in = int(lifetime_s)
            answer["expires_in"] = str(expires_in) if faults.take("cloudlocate_token_text_expiry") else expires_in
        if not faults.take("cloudlocate_token_no_refresh"):
            self._refresh_tokens.add(refresh)
            answer["refresh_token"] = refresh
        return answer

    def _new_token(self) -> str:
        return hashlib.blake2b(f"{self._state.options.seed}|{next(self._numbers)}".encode(), digest_size=20).hexdigest()


def _presented(authorization: bytes, form: dict[str, str]) -> tuple[str, str] | None:
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"basic":
        return _basic_pair(value) or ("", "")
    if "client_id" in form:
        return form["client_id"], form.get("client_secret", "")
    return None


def _basic_pair(value: bytes) -> tuple[str, str] | None:
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


class TokenEndpoint:
    """An ASGI application that hands out tokens."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one token call."""
        body = await read_body(receive)
        is_form = header(scope, b"content-type").startswith(b"application/x-www-form-urlencoded")
        try:
            # What is no form has no grant_type, which is the error to report.
            granted = self._doorkeeper.grant(header(scope, b"authorization"), body if is_form else b"")
        except TokenRefused as refused:
            challenge = [(b"www-authenticate", b"Basic")] if refused.status == 401 else []  # noqa: PLR2004 plain enough
            content = orjson.dumps({"error": refused.code, "error_description": refused.code.replace("_", " ")})
            await answer(send, refused.status, content, b"application/json", _NO_STORE, *challenge)
        else:
            await answer(send, 200, orjson.dumps(granted), b"application/json", _NO_STORE)
