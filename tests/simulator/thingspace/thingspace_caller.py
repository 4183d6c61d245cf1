"""A client of the simulated ThingSpace, for tests."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from app.simulator.options import Options
from app.simulator.state import State
from app.simulator.world.clock import ManualClock
from app.simulator.world.world import SimulatedDevice

START = datetime(2024, 5, 17, 14, 30, tzinfo=UTC)
ACCOUNT = "0844559123-00001"
OTHER_ACCOUNT = "0844559123-00002"


@dataclass
class Caller:
    """A client of ThingSpace that keeps its tokens and shows them with every call."""

    http: httpx.AsyncClient
    state: State
    options: Options
    clock: ManualClock
    headers: dict[str, str] = field(default_factory=dict)

    async def token(self, **details: Any) -> httpx.Response:
        call = {
            "auth": (self.options.thingspace_key, self.options.thingspace_secret),
            "data": {"grant_type": "client_credentials"},
        } | details
        return await self.http.post("/api/ts/v1/oauth2/token", **call)

    async def login(self, username: str | None = None, password: str | None = None) -> httpx.Response:
        given = {
            "username": username or self.options.thingspace_username,
            "password": password or self.options.thingspace_password,
        }
        return await self.http.post("/api/m2m/v1/session/login", json=given, headers=self.headers)

    async def enter(self) -> None:
        self.headers = {"Authorization": f"Bearer {(await self.token()).json()['access_token']}"}
        self.headers["VZ-M2M-Token"] = (await self.login()).json()["sessionToken"]

    async def call(self, method: str, path: str, **details: Any) -> httpx.Response:
        return await self.http.request(method, f"/api/loc/v1/{path}", headers=self.headers, **details)

    async def locate(self, *devices: SimulatedDevice, **body: Any) -> httpx.Response:
        return await self.call(
            "POST", "locations", json={"accountName": ACCOUNT, "deviceList": listed(*devices)} | body
        )

    async def register(self, url: str, service: str = "DeviceLocation") -> httpx.Response:
        return await self.call("POST", f"callbacks/{ACCOUNT}", json={"name": service, "url": url})

    async def start(self, *devices: SimulatedDevice, **body: Any) -> httpx.Response:
        given = {"accountName": ACCOUNT, "deviceList": listed(*(devices or [self.device()]))} | body
        return await self.call("POST", "devicelocations/action/periodic", json=given)

    async def stop(self, transaction: str, *devices: SimulatedDevice) -> httpx.Response:
        mdns = [device.mdn for device in devices or [self.device()]]
        path = f"devicelocations/action/periodic/{transaction}"
        return await self.call("DELETE", path, params={"accountName": ACCOUNT, "mdn": mdns})

    async def drained(self) -> dict[str, Any]:
        answer = await self.http.post("/control/thingspace/drain", json={"timeoutSeconds": 60})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def later(self, seconds: float) -> dict[str, Any]:
        await self.clock.advance(seconds)
        return await self.drained()

    def fault(self, name: str, **details: Any) -> None:
        self.state.faults.put(name, **details)

    def device(self, index: int = 0) -> SimulatedDevice:
        return self.state.world.device(index)


def listed(*devices: SimulatedDevice) -> list[dict[str, str]]:
    return [{"id": device.imei, "kind": "imei", "mdn": device.mdn} for device in devices]
