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
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import clock
from benchmarks.ground import TOKEN, Ground, Seen, load
from benchmarks.plan import Plan
from benchmarks.servers import API_KEY

BEFORE_S, DURING_S, AT_MOST_AFTER_S = 2.0, 5.0, 40.0
_CALM_S = 2.0


Trouble = Callable[[Ground, aiohttp.ClientSession], contextlib.AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that goes wrong.

    Attributes:
        trouble: Lasts as long as its block does.
        place: What has to be prepared before the load begins, and put back when it has ended.
        lacks: Tells why it cannot be played here.
    """

    name: str
    trouble: Trouble
    place: Trouble | None = None
    lacks: Callable[[Ground], str | None] = lambda _: None


def _faults(*faults: dict[str, Any]) -> Trouble:
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


def _database_ends(number: int) -> Trouble:
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


def _connections(count: int, *pieces: bytes) -> Trouble:
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
        for reader_and_writer in opened:
            reader_and_writer[1].transport.abort()

    return trouble


@asynccontextmanager
async def _strange_bodies(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    statuses: Counter[int | str] = Counter()
    for body in [b"[" * 200_000, b'{"a":' * 100_000, b" " * 5_000_000, b'{"device":"' + b"x" * 3_000_000 + b'"}'] * 5:
        for path in ("/locate", "/periodic", f"/callbacks/thingspace/{TOKEN}"):
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
    Scenario(
        name="disk full",
        trouble=_disk_full,
        lacks=lambda ground: None if ground.is_small else "only root can make a small disk",
    ),
    Scenario(name="10,000 idle connections", trouble=_connections(10_000)),
    Scenario(name="500 slow-loris clients", trouble=_connections(500, b"POST / HTTP/1.1\r\n", *[b"X-A: a\r\n"] * 8)),
    Scenario(name="oversized and deeply nested JSON", trouble=_strange_bodies),
    Scenario(
        name="clock an hour ahead, and back",
        trouble=clock.jumps,
        place=clock.under_another_clock,
        lacks=lambda _: None if clock.library() else "libfaketime is not installed (Debian: faketime)",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        last_failure: When it was, counted from the beginning of the trouble, in words.
        lasted_s: How long the trouble itself lasted.
    """

    name: str
    locate: str
    callbacks: str
    last_failure: str
    lasted_s: float


async def _play_in_place(ground: Ground, http: aiohttp.ClientSession, scenario: Scenario) -> Outcome:
    async with scenario.place(ground, http) if scenario.place else contextlib.nullcontext():
        return await _play(ground, http, scenario)


async def _play(ground: Ground, http: aiohttp.ClientSession, scenario: Scenario) -> Outcome:
    ground.seen.clear()
    stop = asyncio.Event()
    loading = asyncio.create_task(load(ground, http, stop))
    await asyncio.sleep(BEFORE_S)
    began = time.monotonic()
    async with scenario.trouble(ground, http):
        await asyncio.sleep(max(0.0, DURING_S - (time.monotonic() - began)))
    ended = time.monotonic()
    is_calm = False
    while not is_calm and time.monotonic() - ended < AT_MOST_AFTER_S:
        await asyncio.sleep(0.25)
        last_bad = max([ended, *(one.at for one in ground.seen if one.status != "200")])
        is_calm = time.monotonic() - last_bad > _CALM_S and any(one.at > last_bad for one in ground.seen)
    if not is_calm:
        ground.problems.append(f"{scenario.name}: failures have not ended after {AT_MOST_AFTER_S:.0f} s")
    failed_s = [one.at + one.ms / 1000 - began for one in ground.seen if one.status != "200"]
    stop.set()
    await loading
    during = [one for one in ground.seen if one.at >= began]
    return Outcome(
        name=scenario.name,
        locate=_described(during, "locate"),
        callbacks=_described(during, "callback"),
        last_failure=f"{max(failed_s):.1f} s" if failed_s else "none",
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


async def _drill() -> list[str]:
    timeout = aiohttp.ClientTimeout(total=20)
    with _disk() as (folder, is_small):
        ground = Ground(folder=folder, is_small=is_small)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            try:
                for name, path in (("vendor", "/healthz"), ("gateway", "/readyz")):
                    ground.start(name)
                    await ground.ready(http, (ground.vendor_url if name == "vendor" else ground.url) + path)
                print("| What went wrong | /locate | Callbacks | Last failure after |\n|---|---|---|---|", flush=True)
                for scenario in SCENARIOS:
                    if lacks := scenario.lacks(ground):
                        print(f"| {scenario.name} | left out: {lacks} | | |", flush=True)
                        continue
                    outcome = await _play_in_place(ground, http, scenario)
                    after = f"{outcome.last_failure} (trouble: {outcome.lasted_s:.1f} s)"
                    print(f"| {outcome.name} | {outcome.locate} | {outcome.callbacks} | {after} |", flush=True)
                await asyncio.sleep(1)
                lost = await _lost(ground, http)
                print(f"\nAcknowledged callbacks: {len(ground.acknowledged)}; of these not stored: {lost}")
                if lost:
                    ground.problems.append(f"{lost} acknowledged callbacks were lost")
                return ground.problems
            finally:
                for name in ("gateway", "vendor"):
                    if name in ground.processes and ground.processes[name].poll() is None:
                        await asyncio.to_thread(ground.end, name)


def run(_: Plan) -> None:
    """Play all scenarios; about three minutes."""
    problems = asyncio.run(_drill())
    if problems:
        raise SystemExit("This must not happen:\n  " + "\n  ".join(problems))
