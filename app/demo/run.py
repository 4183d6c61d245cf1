"""Everything at once, with simulated vendors, for a newcomer to watch and try."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from app.demo.receiver import EventReceiver
from app.embedded_postgres import EmbeddedPostgres
from app.embedded_postgres.addresses import free_port
from app.errors import Unavailable

_START_S = 60.0
_REPORT_EVERY_S = 5.0
_FLEET = 25
_INTERVAL_S = 5
_MOST_FIXES = 1000
_REPORTS_BEFORE_SILENCE = 4
_SUBSCRIPTION = "receiver of the demo"

console = Console()


def run_demo(data_dir: Path, port: int, simulator_port: int, duration: float | None) -> None:
    """Run everything until Ctrl-C, or for `duration` seconds; a port in use is replaced by a free one."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_demo(data_dir, port, simulator_port, duration))


async def _demo(data_dir: Path, port: int, simulator_port: int, duration: float | None) -> None:
    key = secrets.token_urlsafe(16)
    gateway_url = f"http://127.0.0.1:{free_port(port)}"
    simulator_url = f"http://127.0.0.1:{free_port(simulator_port)}"
    stopping = _stop_signals()
    _say("Starting Postgres, from a package, in " + str(data_dir))
    async with EmbeddedPostgres(data_dir, on_step=lambda step: _say(f"  {step}")):
        _say("Starting the simulator: stand-ins for CloudLocate and ThingSpace")
        arguments = ["simulator", "--consent", "both", "--port", simulator_url.rpartition(":")[2]]
        async with _process(arguments, {}, data_dir, f"{simulator_url}/healthz") as simulator:
            credentials = await _get(f"{simulator_url}/control/credentials")
            environment = _environment(data_dir, key, gateway_url, simulator_url, credentials)
            _say("Starting the gateway")
            async with _process(["serve"], environment, data_dir, f"{gateway_url}/readyz") as gateway:
                await _show(gateway_url, simulator_url, key, credentials, [simulator, gateway], stopping, duration)


def _stop_signals() -> asyncio.Event:
    """Make an event of Ctrl-C and of a request to end, so that everything is stopped in order."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    return stopping


def _say(words: str) -> None:
    console.print(words, highlight=False, soft_wrap=True)


def _environment(
    data_dir: Path, key: str, gateway_url: str, simulator_url: str, credentials: dict[str, Any]
) -> dict[str, str]:
    thingspace, cloudlocate = credentials["thingspace"], credentials["cloudlocate"]
    return {
        "GATEWAY_API_KEY": key,
        "GATEWAY_DATA_DIR": str(data_dir),
        "GATEWAY_DELIVERY_ALLOW": "127.0.0.1/32",
        "GATEWAY_DRAIN_SECONDS": "0",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": gateway_url.rpartition(":")[2],
        "GATEWAY_PUBLIC_URL": gateway_url,
        "GATEWAY_LOG_LEVEL": "warning",
        "THINGSPACE_BASE_URL": f"{simulator_url}/api",
        "THINGSPACE_KEY": thingspace["key"],
        "THINGSPACE_SECRET": thingspace["secret"],
        "THINGSPACE_USERNAME": thingspace["username"],
        "THINGSPACE_PASSWORD": thingspace["password"],
        "THINGSPACE_ACCOUNT": credentials["account"],
        "CLOUDLOCATE_URL": f"{simulator_url}/cloudlocate/v1/position",
        "CLOUDLOCATE_USERNAME": cloudlocate["username"],
        "CLOUDLOCATE_PASSWORD": cloudlocate["password"],
    }


@asynccontextmanager
async def _process(
    arguments: list[str], environment: dict[str, str], folder: Path, ready_url: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run one of our commands as a process of its own, until the block ends."""
    # A developer's own settings must not leak into the demo, neither from the environment nor from a .env.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GATEWAY_", "THINGSPACE_", "CLOUDLOCATE_"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        env=inherited | environment,
        cwd=folder,
        start_new_session=True,
        stdout=asyncio.subprocess.DEVNULL,  # the demo prints its own text; the log stays
    )
    try:
        await _wait_until_ready(process, ready_url)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _wait_until_ready(process: asyncio.subprocess.Process, url: str) -> None:
    give_up = time.monotonic() + _START_S
    async with httpx.AsyncClient(timeout=2) as http:
        while time.monotonic() < give_up:
            if process.returncode is not None:
                raise Unavailable(f"A part of the demo ended with status {process.returncode}; see above.")
            with contextlib.suppress(httpx.HTTPError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
    raise Unavailable("A part of the demo did not become ready within a minute.")


async def _get(url: str) -> Any:
    async with httpx.AsyncClient(timeout=10) as http:
        response = await http.get(url)
        response.raise_for_status()
        return response.json()


async def _show(
    gateway_url: str,
    simulator_url: str,
    key: str,
    credentials: dict[str, Any],
    processes: list[asyncio.subprocess.Process],
    stopping: asyncio.Event,
    duration: float | None,
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=gateway_url, headers=headers, timeout=60) as http:
        account = credentials["account"]
        _say("Registering the callback listener at ThingSpace")
        _expect_success(await http.put(f"/listeners/{account}/DeviceLocation"))
        listed = await _get(f"{simulator_url}/control/devices?limit={_FLEET * 2}")
        fleet = [device for device in listed["devices"] if device["account"] == account][:_FLEET]
        receiver = EventReceiver(_say)
        with receiver.running():
            _say(f"Subscribing a small receiver to all events, at {receiver.url}")
            await _subscribe(http, receiver)
            devices = [{"imei": device["imei"], "mdn": device["mdn"]} for device in fleet]
            session = await _start(http, devices)
            await _fall_silent(simulator_url, devices[-1]["imei"])
            _say(_what_to_try(gateway_url, simulator_url, key, devices[0], session))
            await _watch(http, session, processes, stopping, duration)
            _say("Stopping")
            with contextlib.suppress(httpx.HTTPError):
                await http.delete(f"/periodic/{session}")
                await _unsubscribe(http)


async def _start(http: httpx.AsyncClient, devices: list[dict[str, str]]) -> str:
    """Start a session of these devices; return its id."""
    _say(f"Starting periodic location of {len(devices)} devices, a fix every {_INTERVAL_S} seconds")
    plan = {"devices": devices, "interval": _INTERVAL_S, "count": _MOST_FIXES, "maxAge": 0}
    started = await http.post("/periodic", json=plan)
    _expect_success(started)
    session: str = started.json()["id"]
    return session


async def _fall_silent(simulator_url: str, imei: str) -> None:
    """Lose all callbacks about a device but the first ones."""
    _say(f"One of them, {imei}, falls silent after {_REPORTS_BEFORE_SILENCE} reports")
    fault = {"name": "callback_lost", "device": imei, "times": None, "after": _REPORTS_BEFORE_SILENCE}
    async with httpx.AsyncClient(timeout=10) as http:
        _expect_success(await http.post(f"{simulator_url}/control/faults", json=fault))


async def _subscribe(http: httpx.AsyncClient, receiver: EventReceiver) -> None:
    # A demo that was killed leaves its own, which would go on trying an address that is gone.
    await _unsubscribe(http)
    batch = {"maxEvents": 100, "maxDelay": _INTERVAL_S}
    created = await http.post("/subscriptions", json={"name": _SUBSCRIPTION, "url": receiver.url, "batch": batch})
    _expect_success(created)
    receiver.secret = created.json()["secret"]


async def _unsubscribe(http: httpx.AsyncClient) -> None:
    for one in (await http.get("/subscriptions")).json()["subscriptions"]:
        if one["name"] == _SUBSCRIPTION:
            await http.delete(f"/subscriptions/{one['id']}")


def _expect_success(response: httpx.Response) -> None:
    if not response.is_success:
        raise Unavailable(f"The gateway answered {response.status_code}: {response.text}")


def _what_to_try(gateway_url: str, simulator_url: str, key: str, device: dict[str, str], session: str) -> str:
    return f"""
[green]Ready.[/green] Docs page: [bold]{gateway_url}/docs[/bold] (Authorize with the key below)
Simulator, with a list of the faults it can play: [bold]{simulator_url}/[/bold]

  export KEY={key}

  # where is a device that sees two access points?
  curl -s {gateway_url}/locate -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
    -d '{{"measurements": {{"wifiAccessPoints": [
          {{"macAddress": "3c:37:86:10:22:9a", "signalStrength": -58, "channel": 6}},
          {{"macAddress": "3c:37:86:10:22:b4", "signalStrength": -71, "channel": 11}}]}}}}'

  # where does the network see a device?
  curl -s {gateway_url}/locate -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
    -d '{{"device": {{"imei": "{device["imei"]}", "mdn": "{device["mdn"]}"}}}}'

  # the fleet under way
  curl -s {gateway_url}/periodic/{session} -H "Authorization: Bearer $KEY"
  curl -s '{gateway_url}/reports?limit=3' -H "Authorization: Bearer $KEY"

  # who has fallen silent, and where has another one been?
  curl -s '{gateway_url}/devices?state=silent' -H "Authorization: Bearer $KEY"
  curl -s {gateway_url}/devices/{device["imei"]}/track -H "Authorization: Bearer $KEY" -H 'Accept: application/gpx+xml'

The fleet on a map: [bold]{gateway_url}/map[/bold] (it asks for the key: {key})
Ctrl-C stops everything.
"""


async def _watch(
    http: httpx.AsyncClient,
    session: str,
    processes: list[asyncio.subprocess.Process],
    stopping: asyncio.Event,
    duration: float | None,
) -> None:
    """Print every few seconds what came in, until it is time to stop."""
    give_up = None if duration is None else time.monotonic() + duration
    before = 0
    while not stopping.is_set() and (give_up is None or time.monotonic() < give_up):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _REPORT_EVERY_S)
        if any(process.returncode is not None for process in processes):
            raise Unavailable("A part of the demo ended; see above.")
        with contextlib.suppress(httpx.HTTPError):
            now = (await http.get(f"/periodic/{session}")).raise_for_status().json()
            reports = now["reports"]
            _say(
                f"{time.strftime('%H:%M:%S')}  session {now['state']}: {reports['received']} reports"
                f" (+{reports['received'] - before}) from {now['devices']['total']} devices,"
                f" {reports['failed']} failed, {reports['missing']} missing"
            )
            before = reports["received"]
