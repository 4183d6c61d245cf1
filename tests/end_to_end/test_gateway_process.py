"""The gateway and the simulator as processes of their own, as they run in production: asked, killed, and doubled."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.callback_senders import Sender, stored_numbers
from tests.support.gateways import AUTHORIZED, KEY, any_port, simulator_variables
from tests.support.servers import running
from tests.support.vendors import ACCOUNT, DEVICE, IMEI, MDN, TOKEN

Json = dict[str, Any]


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    port = any_port()
    with running(["-m", "app", "simulator", "--consent", "both", "--port", str(port)]) as program:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(program.answers(f"{url}/healthz"))
        yield url


def environment(simulator_url: str, port: int, **variables: str) -> dict[str, str]:
    return simulator_variables(simulator_url) | {
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_PORT": str(port),
        "GATEWAY_LOG_LEVEL": "warning",
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "THINGSPACE_CALLBACK_TOKEN": TOKEN,
        **variables,
    }


def client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTHORIZED, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def gateway_port(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A gateway with the embedded database."""
    port = any_port()
    folder = tmp_path_factory.mktemp("gateway")
    with running(["-m", "app", "serve"], environment=environment(simulator_url, port), folder=folder) as program:
        asyncio.run(program.answers(f"http://127.0.0.1:{port}/readyz"))
        yield port


@pytest.fixture
async def gateway(gateway_port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with client(gateway_port) as asking:
        yield asking


@pytest.mark.parametrize(("kind", "degrees"), [("wifi", 0.005), ("gnss", 0.001), ("cell", 0.1)])
async def test_measurements_of_every_kind_find_the_device_where_it_is(
    gateway: httpx.AsyncClient, simulator_url: str, kind: str, degrees: float
) -> None:
    scanned = (await gateway.get(f"{simulator_url}/control/devices/{IMEI}/scan", params={"kinds": kind})).json()

    answer = (await gateway.post("/locate", json={"measurements": scanned["measurements"]})).json()

    location, truth = answer["location"], scanned["truth"]
    assert (location["source"], location["provider"], location["confidence"]) == (kind, "cloudlocate", 68)
    assert abs(location["latitude"] - truth["latitude"]) < degrees
    assert abs(location["longitude"] - truth["longitude"]) < degrees


async def test_identifiers_are_located_by_the_network(gateway: httpx.AsyncClient) -> None:
    answer = (await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})).json()

    assert (answer["location"]["source"], answer["location"]["provider"]) == ("network", "thingspace")
    reports = (await gateway.get("/reports", params={"imei": IMEI})).json()["reports"]
    assert any(report["location"].items() <= answer["location"].items() for report in reports)


async def test_a_periodic_session_brings_everything_that_was_asked_for(
    gateway: httpx.AsyncClient, simulator_url: str
) -> None:
    registered = await gateway.put(f"/listeners/{ACCOUNT}/DeviceLocation")
    await gateway.post(f"{simulator_url}/control/thingspace/speed", json={"fullSpeed": True})
    plan = {"devices": [{"imei": str(int(IMEI)), "mdn": MDN}], "interval": 60, "count": 5, "maxAge": 0}

    started = (await gateway.post("/periodic", json=plan)).json()
    await gateway.post(f"{simulator_url}/control/thingspace/drain", json={"timeoutSeconds": 30})

    session = (await gateway.get(f"/periodic/{started['id']}")).json()
    assert registered.status_code == 200
    assert session["reports"]["received"] == 5
    assert session["state"] == "completed"


async def test_every_report_of_a_fleet_is_counted_once_for_its_device(
    gateway: httpx.AsyncClient, simulator_url: str
) -> None:
    async with httpx.AsyncClient(base_url=simulator_url, timeout=60, trust_env=False) as control:
        devices = [{"imei": one["imei"], "mdn": one["mdn"]} for one in await fleet(control, 500)]
        await gateway.put(f"/listeners/{ACCOUNT}/DeviceLocation")
        await control.post("/control/thingspace/speed", json={"fullSpeed": True})
        plan = {"devices": devices, "interval": 60, "count": 6, "maxAge": 0}

        started = (await gateway.post("/periodic", json=plan)).json()
        drained, *asked = await asyncio.gather(
            control.post("/control/thingspace/drain", json={"timeoutSeconds": 50}),
            *(asked_after(gateway, delay_s) for delay_s in (0.0, 0.2, 0.4, 0.8)),
        )

    path = f"/periodic/{started['id']}"
    session = (await gateway.get(path)).json()
    listed = (await gateway.get(f"{path}/devices", params={"limit": 1000})).json()["devices"]
    reports = (await gateway.get(f"{path}/reports", headers={"Accept": "application/x-ndjson"})).text.splitlines()
    assert (drained.status_code, asked) == (200, [200] * 4)
    assert (session["state"], session["reports"]) == (
        "completed",
        {"expected": 3000, "due": 3000, "received": 3000, "failed": 0, "missing": 0, "ended": 0},
    )
    assert [(one["received"], one["failed"], one["missing"]) for one in listed] == [(6, 0, 0)] * 500
    assert len({json.loads(line)["id"] for line in reports}) == len(reports) == 3000


async def asked_after(gateway: httpx.AsyncClient, delay_s: float) -> int:
    """Ask a little later whether the gateway is ready."""
    await asyncio.sleep(delay_s)
    return (await gateway.get("/readyz")).status_code


async def test_nothing_acknowledged_is_lost_when_the_gateway_is_killed(simulator_url: str, tmp_path: Path) -> None:
    count = 3000
    port = any_port()
    variables = environment(simulator_url, port)
    url = f"http://127.0.0.1:{port}/readyz"
    sender = Sender([port], range(count))

    with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as first:
        await first.answers(url)
        sending = asyncio.create_task(sender.send())
        await sender.until(count // 3)
        first.kill()
        await sending
    acknowledged = set(sender.acknowledged)
    with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as second:
        await second.answers(url)
        survived = await stored_numbers(port)
        everything = Sender([port], range(count))
        await everything.send()
        finally_stored = await stored_numbers(port)

    assert count // 3 <= len(acknowledged) < count
    assert acknowledged <= set(survived)
    assert len(survived) == len(set(survived))
    assert sorted(finally_stored) == list(range(count))


async def test_nothing_acknowledged_is_lost_when_the_database_is_killed(simulator_url: str, tmp_path: Path) -> None:
    count = 2000
    port = any_port()
    sender = Sender([port], range(count))

    with running(["-m", "app", "serve"], environment=environment(simulator_url, port), folder=tmp_path) as program:
        await program.answers(f"http://127.0.0.1:{port}/readyz")
        sending = asyncio.create_task(sender.send())
        await sender.until(count // 3)
        os.kill(int((tmp_path / ".data/postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        await sending
        await program.answers(f"http://127.0.0.1:{port}/readyz")
        stored = await stored_numbers(port)

    assert len(sender.acknowledged) == count
    assert sorted(stored) == list(range(count))


async def test_two_gateways_on_one_database_share_a_login_and_their_reports(
    simulator_url: str, database_url: str, tmp_path: Path
) -> None:
    ports = [any_port(), any_port()]
    variables = [environment(simulator_url, port, GATEWAY_DATABASE_URL=database_url) for port in ports]
    async with httpx.AsyncClient(base_url=simulator_url) as control:
        await control.delete("/control/counters")
        with (
            running(["-m", "app", "serve"], environment=variables[0], folder=tmp_path) as one,
            running(["-m", "app", "serve"], environment=variables[1], folder=tmp_path) as two,
        ):
            for program, port in zip((one, two), ports, strict=True):
                await program.answers(f"http://127.0.0.1:{port}/readyz")
            async with client(ports[0]) as first, client(ports[1]) as second:
                devices = [{"imei": device["imei"], "mdn": device["mdn"]} for device in await fleet(control, 20)]
                answers = await asyncio.gather(
                    *(
                        asking.post("/locate", json={"device": device, "maxAge": 0})
                        for device in devices
                        for asking in (first, second)
                    )
                )
            senders = [Sender([port], range(1000), 8) for port in ports]
            await asyncio.gather(*(sender.send() for sender in senders))
            stored = [number for number in await stored_numbers(ports[1]) if 0 <= number < 1000]
        calls = (await control.get("/control/counters")).json()["calls"]

    assert {answer.status_code for answer in answers} == {200}
    assert sum(sum(by_status.values()) for route, by_status in calls.items() if "session/login" in route) == 1
    assert sorted(stored) == list(range(1000))


async def fleet(control: httpx.AsyncClient, count: int) -> list[Json]:
    listed = (await control.get("/control/devices", params={"limit": count * 2})).json()["devices"]
    return [device for device in listed if device["account"] == ACCOUNT][:count]


def test_insecure_settings_are_refused_at_the_start(tmp_path: Path) -> None:
    variables = {"GATEWAY_AUTH": "off", "GATEWAY_HOST": "0.0.0.0"}  # noqa: S104 -- it is refused

    with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as program:
        status = program.process.wait(30)
        told = program.output()

    assert status == 3
    assert "GATEWAY_AUTH=off is refused" in told
    assert "Traceback" not in told
