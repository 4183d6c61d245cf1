"""Sessions from the start to the last callback, gateway and simulator each on a socket of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.simulator import create_simulator
from app.simulator.options import Options
from tests.support.gateways import AUTHORIZED, settings, simulator_variables
from tests.support.servers import serving

OPTIONS = Options(consent="both")
START_PATH = "/api/loc/v1/devicelocations/action/periodic"


class Pair:
    """A gateway and a simulator that know each other."""

    def __init__(self, gateway: httpx.AsyncClient, simulator: httpx.AsyncClient) -> None:
        self.gateway = gateway
        self.simulator = simulator

    async def begin(self, devices: int, **plan: Any) -> httpx.Response:
        """Start a session of devices that the default account owns."""
        listed = (await self.simulator.get("/control/devices", params={"limit": 1000})).json()["devices"]
        owned = [one for one in listed if one["account"] == OPTIONS.account][:devices]
        named = [{"imei": one["imei"], "mdn": one["mdn"]} for one in owned]
        return await self.gateway.post("/periodic", json={"devices": named, "interval": 60, "count": 3, **plan})

    async def tell(self, where: str, **content: Any) -> None:
        (await self.simulator.post(where, json=content)).raise_for_status()

    async def session_in(self, state: str, where: str) -> dict[str, Any]:
        """Follow a session until it is in a state."""
        async with asyncio.timeout(60):
            while (session := (await self.gateway.get(where)).json())["state"] != state:
                pass
        found: dict[str, Any] = session
        return found


@pytest.fixture
async def pair(database_url: str, free_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    async with serving(create_simulator(OPTIONS)) as simulator_url:
        for name, value in simulator_variables(simulator_url).items():
            monkeypatch.setenv(name, value)
        app = create_app(settings(database_url, public_url=f"http://127.0.0.1:{free_port}"))
        async with (
            serving(app, port=free_port) as gateway_url,
            httpx.AsyncClient(base_url=gateway_url, headers=AUTHORIZED, timeout=60) as gateway,
            httpx.AsyncClient(base_url=simulator_url, timeout=60) as simulator,
        ):
            (await gateway.put(f"/listeners/{OPTIONS.account}/DeviceLocation")).raise_for_status()
            yield Pair(gateway, simulator)


async def test_everything_asked_for_comes_back_and_completes_the_session(pair: Pair) -> None:
    await pair.tell("/control/thingspace/speed", fullSpeed=True)

    started = await pair.begin(200)
    session = await pair.session_in("completed", started.headers["location"])

    assert session["reports"]["expected"] == 600
    assert session["reports"]["received"] + session["reports"]["failed"] == 600
    assert session["reports"]["missing"] == 0


async def test_a_start_whose_answer_is_lost_is_adopted_by_its_callbacks(pair: Pair) -> None:
    await pair.tell("/control/faults", name="reset_after", path=START_PATH)

    started = await pair.begin(20)
    session = await pair.session_in("active", started.headers["location"])

    assert (started.status_code, started.json()["code"]) == (504, "OUTCOME_UNKNOWN")
    assert session["transactionId"] is not None
    counted = (await pair.simulator.get("/control/thingspace")).json()["periodic"]["sessions"]
    assert counted == 1


async def test_a_stopped_session_is_stopped_when_every_device_has_said_so(pair: Pair) -> None:
    started = await pair.begin(250, count=None, unlimited=True)
    where = started.headers["location"]

    stopped = await pair.gateway.delete(where)
    session = await pair.session_in("stopped", where)

    assert stopped.json()["stop"] == {"requested": 250, "accepted": 250, "failed": []}
    assert session["endedAt"] is not None
