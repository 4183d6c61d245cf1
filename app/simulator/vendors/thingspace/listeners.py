"""The registry of callback listeners: one address and one secret per account and service."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from app.simulator.state import State
from app.simulator.vendors.thingspace.answers import reply
from app.simulator.vendors.thingspace.calls import check_account, check_tokens, read_call
from app.simulator.vendors.thingspace.errors import service_error
from app.simulator.vendors.thingspace.identifiers import Identifiers
from app.simulator.vendors.thingspace.routing import LOCATION, route

FAULTS = {
    "secret_withheld": "ThingSpace register: the answer hands out no secret",
    "listener_forgotten": "ThingSpace list: the listeners of the account are gone, as if nobody had registered",
}

REPORTS, DEVICES = "Location", "DeviceLocation"
"""The two callback services: notices about location reports, and everything about single devices."""


@dataclass(frozen=True, slots=True)
class RegisteredListener:
    """Where the callbacks of one service go, and with which secret they are signed."""

    url: str
    secret: str

    def sign(self, body: bytes, encoding: str) -> str:
        """Return the signature of a body, written as the options say."""
        mac = hmac.new(self.secret.encode(), body, hashlib.sha256)
        match encoding:
            case "base64":
                return base64.b64encode(mac.digest()).decode()
            case "sha256=hex":
                return f"sha256={mac.hexdigest()}"
        return mac.hexdigest()


class ListenerBook:
    """Who listens."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: dict[tuple[str, str], RegisteredListener] = {}

    def register(self, account: str, service: str, url: str) -> RegisteredListener:
        """Send the callbacks of a service to this address from now on, signed with a new secret."""
        listener = RegisteredListener(url, self._state.part(Identifiers).secret("callback"))
        self._listeners[account, service] = listener
        return listener

    def remove(self, account: str, service: str) -> bool:
        """Forget a listener; say whether there was one."""
        return self._listeners.pop((account, service), None) is not None

    def forget(self, account: str) -> None:
        """Forget all listeners of an account."""
        for service in (REPORTS, DEVICES):
            self.remove(account, service)

    def find(self, account: str, service: str) -> RegisteredListener | None:
        """Return the listener of a service."""
        return self._listeners.get((account, service))

    def of(self, account: str) -> dict[str, RegisteredListener]:
        """Return the listeners of an account by their services."""
        return {service: listener for (owner, service), listener in self._listeners.items() if owner == account}

    def require(self, account: str, service: str) -> None:
        """Refuse work whose results would have nobody to go to, where the options say so."""
        if self._state.options.callback_required and self.find(account, service) is None:
            raise service_error("No callback listener is registered", code="CALLBACK_NOT_REGISTERED", status=403)


def routes(state: State) -> list[BaseRoute]:
    """List the routes of the registry."""
    return [
        route(state, "POST", f"{LOCATION}/callbacks/{{account}}", _register),
        route(state, "GET", f"{LOCATION}/callbacks/{{account}}", _list),
        route(state, "DELETE", f"{LOCATION}/callbacks/{{account}}/name/{{service}}", _remove),
    ]


async def _register(state: State, request: Request) -> Response:
    body = await read_call(state, request)
    account = check_account(state, request.path_params["account"])
    service, url = _check_registration(state, account, body)
    listener = state.part(ListenerBook).register(account, service, url)
    name = "accountName" if state.spells("registration_account_name", account=account) else "account"
    is_withheld = state.faults.take("secret_withheld", account=account)
    return reply(
        {name: account, "name": service},
        headers={} if is_withheld else {state.options.secret_header: listener.secret},
    )


def _check_registration(state: State, account: str, body: dict[str, Any]) -> tuple[str, str]:
    service, url = body.get("name"), body.get("url")
    if service not in (REPORTS, DEVICES):
        raise service_error(f"The name of the callback service must be {REPORTS} or {DEVICES}")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise service_error("The url of the callback listener is missing or invalid")
    others = (listener.url for name, listener in state.part(ListenerBook).of(account).items() if name != service)
    if state.options.strict and url in others:
        raise service_error("Every callback service needs a url of its own")
    return service, url


async def _list(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account = check_account(state, request.path_params["account"])
    if state.faults.take("listener_forgotten", account=account):
        state.part(ListenerBook).forget(account)
    listeners = state.part(ListenerBook).of(account)
    if state.spells("listeners_long", account=account):
        empty = {"username": "", "password": ""}
        return reply(
            [{"accountName": account, "serviceName": name, "url": one.url} | empty for name, one in listeners.items()]
        )
    return reply([{"name": name, "url": one.url} for name, one in listeners.items()])


async def _remove(state: State, request: Request) -> Response:
    check_tokens(state, request)
    account, service = check_account(state, request.path_params["account"]), request.path_params["service"]
    if not state.part(ListenerBook).remove(account, service):
        raise service_error("No such callback listener")
    if state.spells("removal_named", account=account):
        return reply({"accountName": account, "serviceName": service})
    return reply({"success": True})
