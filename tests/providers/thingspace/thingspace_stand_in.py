"""A ThingSpace in memory, written from the vendor's pages: tokens, a login that counts, and canned answers."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx

from app.errors import Unavailable
from app.model import Deadline, Device, LocationQuery
from app.provider import Slot
from app.upstream import InMemoryVault

SAMPLES = Path(__file__).parent / "samples"
ACCOUNT = "0844559123-00001"
IMEI = "990001123456782"
MDN = "5085550101"
TRANSACTION = "3d1c9a52-7b1e-4c3a-9f60-2a7c51e0b9d4"

Answering = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def refusal(code: str, message: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"errorCode": code, "errorMessage": message})


def session_expired() -> httpx.Response:
    return refusal("INVALID_PARAMETER", "UWS verification failure (The Session has expired.)")


def gateway_fault(code: Any = "900901", status: int = 401) -> httpx.Response:
    return httpx.Response(status, json={"fault": {"code": code, "message": "Invalid Credentials", "description": "-"}})


def position(mdn: str = MDN, **members: Any) -> dict[str, Any]:
    pd = {"time": "20240517143005", "x": "42.09551", "y": "-71.26483", "radius": "1450", "qos": "false"} | members
    return {"msid": mdn, "pd": pd, "error": {}}


def failure(type_: str, info: str = "", mdn: str = MDN) -> dict[str, Any]:
    return {"msid": mdn, "pd": {}, "error": {"time": "20240517143006", "type": type_, "info": info}}


def query(max_age_s: int | None = None, *, mdn: str = MDN, id_: str = IMEI, **device: Any) -> LocationQuery:
    device = {"id": id_, "kind": "imei", "mdn": mdn, "account": ACCOUNT} | device
    return LocationQuery(device=Device(**device), max_age_s=max_age_s)


def soon() -> Deadline:
    return Deadline.after(10)


def json_of(request: httpx.Request) -> Any:
    return json.loads(request.content)


def in_turn(*answers: httpx.Response | Exception) -> Answering:
    """Give these answers one after the other; the last one for ever."""
    left = list(answers)

    def answer(_: httpx.Request) -> httpx.Response:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    return answer


@dataclass
class StandIn:
    """Checks tokens as ThingSpace does, and answers the location API with `answer`."""

    answer: Answering = field(default=lambda _: httpx.Response(200, json=[position()]))
    password: str = "pass"
    bearer: str = "bearer-1"
    expires_in: Any = 3600
    sessions: set[str] = field(default_factory=set)
    requests: list[httpx.Request] = field(default_factory=list)
    token_requests: int = 0
    logins: int = 0
    forgets_sessions: bool = False
    on_token: Answering | None = None
    on_login: Answering | None = None

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        match request.url.path.removeprefix("/api"):
            case "/ts/v1/oauth2/token":
                return await self._token(request)
            case "/m2m/v1/session/login":
                return await self._login(request)
        assert request.url.path.startswith("/api/loc/v1/")
        if request.headers.get("authorization") != f"Bearer {self.bearer}":
            return gateway_fault()
        if request.headers.get("vz-m2m-token") not in self.sessions:
            return session_expired()
        assert request.headers["content-type"] == "application/json"
        self.requests.append(request)
        return await _awaited(self.answer(request))

    async def _token(self, request: httpx.Request) -> httpx.Response:
        self.token_requests += 1
        await asyncio.sleep(0.01)
        if self.on_token:
            return await _awaited(self.on_token(request))
        assert parse_qs(request.content.decode()) == {"grant_type": ["client_credentials"]}
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        if request.headers["authorization"] != f"Basic {b64encode(b'key:secret').decode()}":
            return httpx.Response(401, json={"error": "invalid_client", "error_description": "no"})
        answer = {"access_token": self.bearer, "token_type": "Bearer", "expires_in": self.expires_in}
        return httpx.Response(200, json={name: value for name, value in answer.items() if value is not None})

    async def _login(self, request: httpx.Request) -> httpx.Response:
        self.logins += 1
        await asyncio.sleep(0.01)
        if self.on_login:
            return await _awaited(self.on_login(request))
        if request.headers["authorization"] != f"Bearer {self.bearer}":
            return gateway_fault()
        if json_of(request) != {"username": "user", "password": self.password}:
            return refusal("UnifiedWebService.REQUEST_FAILED.Credentials", "Invalid user name or password for user")
        session = f"session-{self.logins}"
        if not self.forgets_sessions:
            self.sessions.add(session)
        return httpx.Response(200, json={"sessionToken": session})

    @property
    def cache_modes(self) -> list[str]:
        return [json_of(request)["cacheMode"] for request in self.requests]


async def _awaited(answer: httpx.Response | Awaitable[httpx.Response]) -> httpx.Response:
    return answer if isinstance(answer, httpx.Response) else await answer


class AbsentVault(InMemoryVault):
    """A vault whose database is away while `away` says so; `loses` makes only commits fail."""

    away = False
    loses = False

    async def read(self, provider: Any, name: str, *, sealed_with: bytes) -> bytes | None:
        if self.away:
            raise Unavailable
        return await super().read(provider, name, sealed_with=sealed_with)

    @asynccontextmanager
    async def locked(self, provider: Any, name: str, *, sealed_with: bytes) -> AsyncIterator[Slot]:
        if self.away:
            raise Unavailable
        async with super().locked(provider, name, sealed_with=sealed_with) as slot:
            before = slot.value
            yield slot
            if self.loses:
                await slot.put(before)
                raise Unavailable
