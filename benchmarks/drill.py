"""The failure drill: things go wrong under load, one after the other, and a table says what came of it.

Real processes on loopback: the simulator as both vendors, the gateway with its embedded Postgres. All the while callers
ask for locations, and callbacks are posted; a callback that is not acknowledged is not sent again, so that a count of
the database shows whether one that was acknowledged is missing.
"""

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from app.simulator.options import Options
from benchmarks.plan import Plan
from benchmarks.servers import API_KEY, free_port

ASKS_PER_S, CALLBACKS_PER_S = 20, 50
BEFORE_S, DURING_S, AT_MOST_AFTER_S = 2.0, 5.0, 40.0
_CALM_S = 2.0
_TOKEN = "token-of-the-drill"
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
    """Where the drill takes place."""

    folder: Path
    port: int = field(default_factory=free_port)
    vendor_port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    number: int = 0

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def vendor_url(self) -> str:
        """Address of the simulator."""
        return f"http://127.0.0.1:{self.vendor_port}"

    def start(self, name: str) -> None:
        """Start the simulator or the gateway."""
        options = Options()
        arguments = {
            "vendor": ["simulator", "--port", str(self.vendor_port)],
            "gateway": ["serve", "--port", str(self.port)],
        }
        variables = {
            "GATEWAY_API_KEY": API_KEY,
            "GATEWAY_DATA_DIR": str(self.folder),
            "GATEWAY_LOG_FORMAT": "json",
            "GATEWAY_COOLDOWN_SECONDS": "3",
            "GATEWAY_READ_TIMEOUT_SECONDS": "3",
            "CLOUDLOCATE_URL": f"{self.vendor_url}{options.cloudlocate_position_path}",
            "CLOUDLOCATE_USERNAME": options.cloudlocate_username,
            "CLOUDLOCATE_PASSWORD": options.cloudlocate_password,
            "THINGSPACE_BASE_URL": f"{self.vendor_url}/api",
            "THINGSPACE_ACCOUNT": options.account,
            "THINGSPACE_CALLBACK_TOKEN": _TOKEN,
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


async def _send(ground: Ground, http: aiohttp.ClientSession, kind: str, path: str, body: Any) -> str:
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
    await _send(ground, http, "locate", "/locate", {"measurements": {"wifiAccessPoints": points}, "timeout": 10})


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
    if await _send(ground, http, "callback", f"/callbacks/thingspace/{_TOKEN}", body) == "200":
        ground.acknowledged.add(transaction)


async def _load(ground: Ground, http: aiohttp.ClientSession, stop: asyncio.Event) -> None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that goes wrong, for as long as its block lasts."""

    name: str
    trouble: Callable[[Ground, aiohttp.ClientSession], contextlib.AbstractAsyncContextManager[None]]


def _faults(*faults: dict[str, Any]) -> Callable[..., contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def trouble(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
        await http.post(f"{ground.vendor_url}/control/faults", json=list(faults))
        yield
        await http.delete(f"{ground.vendor_url}/control/faults")

    return trouble


@asynccontextmanager
async def _vendor_down(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    await asyncio.to_thread(ground.end, "vendor", signal.SIGKILL)
    yield
    ground.start("vendor")
    await ground.ready(http, f"{ground.vendor_url}/healthz")


def _database_ends(number: int) -> Callable[..., contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def trouble(ground: Ground, _: aiohttp.ClientSession) -> AsyncIterator[None]:
        os.kill(ground.postgres_pid, number)
        yield

    return trouble


@asynccontextmanager
async def _gateway_killed(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    await asyncio.to_thread(ground.end, "gateway", signal.SIGKILL)
    ground.start("gateway")
    await ground.ready(http, f"{ground.url}/readyz")
    yield


@asynccontextmanager
async def _disk_full(ground: Ground, _: aiohttp.ClientSession) -> AsyncIterator[None]:
    filler = ground.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    yield
    filler.unlink()


def _connections(count: int, *pieces: bytes) -> Callable[..., contextlib.AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def trouble(ground: Ground, _: aiohttp.ClientSession) -> AsyncIterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 1_000)), hard))
        opened = [await asyncio.open_connection("127.0.0.1", ground.port) for _ in range(count)]

        async def drip() -> None:
            for piece in pieces:
                for _, writer in opened:
                    if not writer.is_closing():
                        writer.write(piece)
                await asyncio.sleep(0.5)

        dripping = asyncio.create_task(drip())
        yield
        await dripping
        for _, writer in opened:
            writer.transport.abort()

    return trouble


@asynccontextmanager
async def _strange_bodies(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    statuses: Counter[int | str] = Counter()
    for body in [b"[" * 200_000, b'{"a":' * 100_000, b" " * 5_000_000, b'{"device":"' + b"x" * 3_000_000 + b'"}'] * 5:
        for path in ("/locate", "/periodic", f"/callbacks/thingspace/{_TOKEN}"):
            try:
                async with http.post(ground.url + path, data=body, headers=headers) as response:
                    statuses[response.status] += 1
            except (aiohttp.ClientError, OSError):
                statuses["refused while sending"] += 1
    print(f"  strange bodies were answered with {dict(statuses)}", flush=True)
    yield


SCENARIOS: Sequence[Scenario] = (
    Scenario(name="vendor slow (3 s)", trouble=_faults({"name": "slow", "delaySeconds": 3, "times": None})),
    Scenario(name="vendor down", trouble=_vendor_down),
    Scenario(name="vendor lying (200 that is no JSON)", trouble=_faults({"name": "garbage", "times": None})),
    Scenario(name="database restarted (fast shutdown)", trouble=_database_ends(signal.SIGINT)),
    Scenario(name="database killed (SIGKILL)", trouble=_database_ends(signal.SIGKILL)),
    Scenario(name="gateway killed (SIGKILL), started again", trouble=_gateway_killed),
    Scenario(name="disk full", trouble=_disk_full),
    Scenario(name="10,000 idle connections", trouble=_connections(10_000)),
    Scenario(name="500 slow-loris clients", trouble=_connections(500, b"POST / HTTP/1.1\r\n", *[b"X-A: a\r\n"] * 8)),
    Scenario(name="oversized and deeply nested JSON", trouble=_strange_bodies),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        normal_after_s: From the beginning of the trouble to the last failure; None when failures did not end.
        lasted_s: How long the trouble itself lasted.
    """

    name: str
    locate: str
    callbacks: str
    normal_after_s: float | None
    lasted_s: float


async def _play(ground: Ground, http: aiohttp.ClientSession, scenario: Scenario) -> Outcome:
    ground.seen.clear()
    stop = asyncio.Event()
    load = asyncio.create_task(_load(ground, http, stop))
    await asyncio.sleep(BEFORE_S)
    began = time.monotonic()
    async with scenario.trouble(ground, http):
        await asyncio.sleep(max(0.0, DURING_S - (time.monotonic() - began)))
    ended = time.monotonic()
    calm = None
    while calm is None and time.monotonic() - ended < AT_MOST_AFTER_S:
        await asyncio.sleep(0.25)
        bad = [one.at for one in ground.seen if one.status != "200"]
        last_bad = max([ended, *bad])
        if time.monotonic() - last_bad > _CALM_S and any(one.at > last_bad for one in ground.seen):
            calm = max([0.0, *(one.at + one.ms / 1000 - began for one in ground.seen if one.status != "200")])
    stop.set()
    await load
    during = [one for one in ground.seen if one.at >= began]
    return Outcome(
        name=scenario.name,
        locate=_described(during, "locate"),
        callbacks=_described(during, "callback"),
        normal_after_s=calm,
        lasted_s=ended - began,
    )


def _described(seen: Sequence[Seen], kind: str) -> str:
    mine = [one for one in seen if one.kind == kind]
    statuses = Counter(one.status for one in mine)
    p99 = statistics.quantiles([one.ms for one in mine], n=100)[98] if len(mine) > 1 else 0
    listed = ", ".join(f"{count} x {status}" for status, count in statuses.most_common())
    return f"{listed}; p99 {p99:,.0f} ms"


async def _lost(ground: Ground, http: aiohttp.ClientSession) -> int:
    """Count acknowledged callbacks whose report is not there."""
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": "application/x-ndjson"}
    async with http.get(f"{ground.url}/reports", headers=headers) as response:
        lines = (await response.text()).splitlines()
    stored = {json.loads(line).get("transactionId") for line in lines}
    return len(ground.acknowledged - stored)


@contextlib.contextmanager
def _disk() -> Any:
    """Give a folder on a small disk of its own where that can be had, and whether it is one."""
    with tempfile.TemporaryDirectory(prefix="gateway-drill-") as name:
        Path(name).chmod(0o755)
        mount, small = shutil.which("mount"), False
        if mount and hasattr(os, "geteuid") and os.geteuid() == 0:
            options = [mount, "-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", name]
            small = subprocess.run(options, check=False, capture_output=True).returncode == 0
        try:
            yield Path(name), small
        finally:
            if small:
                subprocess.run(["umount", "-l", name], check=False)


async def _drill() -> None:
    timeout = aiohttp.ClientTimeout(total=20)
    with _disk() as (folder, is_small):
        ground = Ground(folder=folder)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            try:
                for name, path in (("vendor", "/healthz"), ("gateway", "/readyz")):
                    ground.start(name)
                    await ground.ready(http, (ground.vendor_url if name == "vendor" else ground.url) + path)
                print("| What went wrong | /locate | Callbacks | Last failure after |\n|---|---|---|---|", flush=True)
                for scenario in SCENARIOS:
                    if scenario.trouble is _disk_full and not is_small:
                        print("| disk full | left out: only root can make a small disk | | |")
                        continue
                    outcome = await _play(ground, http, scenario)
                    after = "never" if outcome.normal_after_s is None else f"{outcome.normal_after_s:.1f} s"
                    after += f" (trouble: {outcome.lasted_s:.1f} s)"
                    print(f"| {outcome.name} | {outcome.locate} | {outcome.callbacks} | {after} |", flush=True)
                await asyncio.sleep(1)
                lost = await _lost(ground, http)
                print(f"\nAcknowledged callbacks: {len(ground.acknowledged)}; of these not stored: {lost}")
            finally:
                for name in ("gateway", "vendor"):
                    if name in ground.processes and ground.processes[name].poll() is None:
                        await asyncio.to_thread(ground.end, name)


def run(_: Plan) -> None:
    """Play all scenarios; about two and a half minutes."""
    asyncio.run(_drill())
