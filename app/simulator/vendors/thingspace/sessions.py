"""M2M sessions: logged in by name and password, kept alive by use."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.errors import Refused, m2m_error, service_error
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.vendors.thingspace.oauth import Bearers
from app.simulator.vendors.thingspace.routing import CONTROL, M2M, route

FAULTS = {
    "session_expired": "ThingSpace, any call with a session: all sessions end before their time; "
    '`value` "Expired", "Invalid" or "Format" answers with that SessionToken code instead of the usual form',
    "login_locked": "ThingSpace login: answered as if five logins had failed",
    "login_rejected": "ThingSpace login: rejected, whatever the credentials; counts as a failure",
    "login_ends_others": "ThingSpace login: the new session ends all others",
}

_EXPIRED = "The Session has expired."
_MESSAGES = {
    "REQUEST_FAILED.SessionToken.Expired": _EXPIRED,
    "INPUT_INVALID.SessionToken.Invalid": "The session token is invalid.",
    "REQUEST_FAILED.SessionToken.Format": "The session token is missing or malformed.",
}
_BY_FAULT_VALUE = {code.rpartition(".")[2]: code for code in _MESSAGES}

Refusal = Callable[[str], Refused]


class Sessions:
    """The sessions in force, and whether the login is locked."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._used_at: dict[str, datetime] = {}
        self._password = state.options.thingspace_password
        self.failures = 0

    @property
    def is_locked(self) -> bool:
        """Whether nobody can log in until support has unlocked the login."""
        return self.failures >= self._state.options.login_failures

    @property
    def count(self) -> int:
        """How many sessions are in force."""
        return sum(self._is_alive(token) for token in self._used_at)

    def unlock(self) -> None:
        """Do what only the vendor's support can do."""
        self.failures = 0

    def log_in(self, username: Any, password: Any) -> str:
        """Begin a session and return its token; five rejections in a row lock the login."""
        faults = self._state.faults
        if self.is_locked or faults.take("login_locked"):
            raise m2m_error("REQUEST_FAILED.Login.Locked", "The user account is locked. Please contact support.")
        is_right = (username, password) == (self._state.options.thingspace_username, self._password)
        if not is_right or faults.take("login_rejected"):
            self.failures += 1
            raise m2m_error("REQUEST_FAILED.Login.Invalid", "The user name or password is wrong.")
        self.failures = 0
        if faults.take("login_ends_others"):
            self._used_at.clear()
        token = self._state.part(Identifiers).guid("session")
        self._used_at[token] = self._state.clock.now()
        return token

    def log_out(self, token: str) -> None:
        """End a session."""
        self._used_at.pop(token, None)

    def change_password(self, old: Any) -> str:
        """Replace the password and return the new one."""
        if old != self._password:
            raise m2m_error("REQUEST_FAILED.Password.Invalid", "The old password is wrong.")
        self._password = self._state.part(Identifiers).secret("password")
        return self._password

    def check(self, request: Request, refused: Refusal) -> str:
        """Renew the session of a call and return its token; without a living session, raise what `refused` makes."""
        if fault := self._state.faults.take("session_expired"):
            self._used_at.clear()
            if code := _BY_FAULT_VALUE.get(str(fault.value)):
                raise m2m_refusal(code)
        token = request.headers.get("vz-m2m-token", "").strip()
        if not self._is_alive(token):
            self._used_at.pop(token, None)
            raise refused(token)
        self._used_at[token] = self._state.clock.now()
        return token

    def _is_alive(self, token: str) -> bool:
        used_at = self._used_at.get(token)
        idle = timedelta(seconds=self._state.options.session_idle_s)
        return used_at is not None and self._state.clock.now() < used_at + idle


def m2m_refusal(code: str) -> Refused:
    """Refuse a session with one of the connectivity service's codes."""
    return m2m_error(code, _MESSAGES[code])


def expired_for_m2m(token: str) -> Refused:
    """Refuse a session as the connectivity service does."""
    if not token:
        return m2m_refusal("REQUEST_FAILED.SessionToken.Format")
    return m2m_refusal(
        f"{'REQUEST_FAILED.SessionToken.Expired' if _is_guid(token) else 'INPUT_INVALID.SessionToken.Invalid'}"
    )


def expired_for_location(_token: str) -> Refused:
    """Refuse a session as the location service does."""
    return service_error(f"UWS verification failure ({_EXPIRED})")


def _is_guid(token: str) -> bool:
    try:
        UUID(token)
    except ValueError:
        return False
    return True


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the connectivity service, and the one that unlocks its login."""
    return [
        route(state, "POST", f"{M2M}/session/login", _login),
        route(state, "POST", f"{M2M}/session/logout", _logout),
        route(state, "PUT", f"{M2M}/session/password/actions/reset", _reset_password),
        route(state, "POST", f"{CONTROL}/unlock", _unlock),
    ]


async def _login(state: State, request: Request) -> Response:
    state.part(Bearers).check(request)
    given = await _body(request)
    token = state.part(Sessions).log_in(given.get("username"), given.get("password"))
    answer: dict[str, Any] = {"sessionToken": token}
    if state.spells("session_expires_in"):
        answer["expiresIn"] = int(state.options.session_idle_s)
    return reply(answer)


async def _logout(state: State, request: Request) -> Response:
    if "authorization" in request.headers:
        state.part(Bearers).check(request)
    sessions = state.part(Sessions)
    token = sessions.check(request, expired_for_m2m)
    sessions.log_out(token)
    return reply({"sessionToken": token})


async def _reset_password(state: State, request: Request) -> Response:
    state.part(Bearers).check(request)
    sessions = state.part(Sessions)
    sessions.check(request, expired_for_m2m)
    return reply({"newPassword": sessions.change_password((await _body(request)).get("oldPassword"))})


async def _unlock(state: State, _request: Request) -> Response:
    state.part(Sessions).unlock()
    return reply({"locked": False})


async def _body(request: Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise m2m_error("INPUT_INVALID.Json", "The request body is no JSON object.") from None
