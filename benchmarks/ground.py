"""Where the failure drill takes place: the processes, and the callers that ask and call back all the while."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from app.simulator.options import Options
from benchmarks.servers import API_KEY, free_port

ASKS_PER_S, CALLBACKS_PER_S = 20, 50
TOKEN = "token-of-the-drill"
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer, or the lack of one."""

    kind: str
    at: float
    ms: float
    status: str


@dataclass(slots=True, kw_only=True)
class Ground:
    """Where the drill takes place.

    Attributes:
        is_small: Whether the folder has a small disk of its own.
        acknowledged: The transactions of callbacks that were answered with 200.
        number: Of the last callback.
        session: A periodic session that is under way, where the scenario has one.
        problems: What must not have happened, in words.
    """

    folder: Path
    is_small: bool = False
    port: int = field(default_factory=free_port)
    vendor_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    number: int = 0
    session: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def vendor_url(self) -> str:
        """Address of the simulator."""
        return f"http://127.0.0.1:{self.vendor_port}"

    def start(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Start the simulator or the gateway, with more variables if that is wanted."""
        arguments = {
            "vendor": ["simulator", "--consent", "both", "--port", str(self.vendor_port)],
            "gateway": ["serve", "--port", str(self.port)],
        }
        variables = {
            "GATEWAY_API_KEY": API_KEY,
            "GATEWAY_DATA_DIR": str(self.folder),
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_COOLDOWN_SECONDS": "3",
            "GATEWAY_READ_TIMEOUT_SECONDS": "3",
            "GATEWAY_PUBLIC_URL": self.url,
            "THINGSPACE_CALLBACK_TOKEN": TOKEN,
            **Options().gateway_settings(self.vendor_url, self.vendor_url),
            **(env or {}),
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GATEWAY_", "THINGSPACE_"))}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "app", *arguments[name]],
                env=kept | variables | {"PYTHONPATH": str(_ROOT)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a process that the drill started."""
        self.processes[name].send_signal(number)
        self.processes[name].wait(60)

    @property
    def postgres_pid(self) -> int:
        """The process of the embedded Postgres."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    async def ready(self, http: aiohttp.ClientSession, url: str) -> None:
        """Wait until an address answers with 200."""
        for _ in range(600):
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with http.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"{url} does not answer")


async def send(ground: Ground, http: aiohttp.ClientSession, kind: str, path: str, body: Any) -> str:
    """Post a body to the gateway, and note what comes of it."""
    began = time.monotonic()
    try:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with http.post(ground.url + path, json=body, headers=headers) as response:
            await response.read()
            status = str(response.status)
    except TimeoutError:
        status = "no answer"
    except (aiohttp.ClientError, OSError):
        status = "connection failed"
    ground.seen.append(Seen(kind, began, (time.monotonic() - began) * 1000, status))
    return status


async def _ask(ground: Ground, http: aiohttp.ClientSession, number: int) -> None:
    points = [
        {"macAddress": ":".join(f"{value:02x}" for value in (2, 0, end, *number.to_bytes(3))), "signalStrength": -60}
        for end in range(3)
    ]
    await send(ground, http, "locate", "/locate", {"measurements": {"wifiAccessPoints": points}, "timeout": 10})


async def _call_back(ground: Ground, http: aiohttp.ClientSession, number: int) -> None:
    transaction = f"drill-{number}"
    at = datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=number)
    position = {"time": f"{at:%Y%m%d%H%M%S}", "x": "42.1", "y": "-71.2", "radius": "35", "qos": "false"}
    device = {"id": "990001123456782", "kind": "imei", "mdn": "5085550101", "positionData": position}
    body = {
        "accountName": Options().account,
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": transaction,
    }
    if await send(ground, http, "callback", f"/callbacks/thingspace/{TOKEN}", body) == "200":
        ground.acknowledged.add(transaction)


async def load(ground: Ground, http: aiohttp.ClientSession, stop: asyncio.Event) -> None:
    """Send at a steady pace, whatever becomes of it."""
    tasks: set[asyncio.Task[None]] = set()
    while not stop.is_set():
        ground.number += 1
        tasks.add(asyncio.create_task(_call_back(ground, http, ground.number)))
        if ground.number * ASKS_PER_S % CALLBACKS_PER_S < ASKS_PER_S:
            tasks.add(asyncio.create_task(_ask(ground, http, ground.number)))
        await asyncio.sleep(1 / CALLBACKS_PER_S)
        tasks = {task for task in tasks if not task.done()}
    await asyncio.gather(*tasks)
