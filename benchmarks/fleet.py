"""A whole fleet through the whole gateway: 60,000 reports of one periodic session, counted one by one.

Real processes on loopback: the simulator sends the callbacks of 10,000 devices as fast as it and the gateway manage,
to a gateway with the Postgres of its own. Meanwhile somebody asks whether it is ready, and somebody else where things
are; the vendor for these questions is a simulator of its own, so that their times are the gateway's.
"""

import asyncio
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from app.simulator.options import Options
from benchmarks import servers
from benchmarks.plan import Plan
from benchmarks.servers import API_KEY, memory_mb

DEVICES, FIXES = 10_000, 6
_INTERVAL_S = 60
_MOST_S = 240
_ASK_EVERY_S = 0.02
_LOOK_EVERY_S = 0.1
_PAGE = 1000

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Watched:
    """What was seen while the callbacks came in.

    Attributes:
        took_ms: Of each answer of a path, in the order asked.
        failures: Everything but 200, by path and what came instead.
        highest_mb: The most memory that the gateway's process held.
    """

    took_ms: dict[str, list[float]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    highest_mb: float = 0.0


def run(_: Plan) -> None:
    """Measure once, and fail when a single report is missing."""
    with (
        servers.simulator({"SIMULATOR_FLEET": str(2 * DEVICES)}) as vendor,
        servers.simulator() as locator,
        servers.gateway(Options().gateway_settings(locator, vendor), pinned=False) as gateway,
    ):
        problems = asyncio.run(_measure(gateway, vendor, Options().account))
    if problems:
        raise SystemExit("The fleet did not come through as it should:\n  " + "\n  ".join(problems))


async def _measure(gateway: str, vendor: str, account: str) -> list[str]:
    """Let the fleet report, print what came of it, and list what is wrong with that."""
    process, sender = servers.process_at(gateway), servers.process_at(vendor)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    timeout = aiohttp.ClientTimeout(total=_MOST_S)
    async with (
        aiohttp.ClientSession(gateway, headers=headers, timeout=timeout) as http,
        aiohttp.ClientSession(vendor, timeout=timeout) as control,
    ):
        await _call(http, "PUT", f"/listeners/{account}/DeviceLocation", {})
        await _call(control, "POST", "/control/thingspace/speed", {"fullSpeed": True})
        plan = {"devices": await _fleet(control, account), "interval": _INTERVAL_S, "count": FIXES, "maxAge": 0}
        before_mb, before_s = memory_mb(process), _cpu_s(process, sender)
        async with _watching(http, process) as watched:
            began = time.perf_counter()
            session = await _call(http, "POST", "/periodic", plan)
            sent = await _call(control, "POST", "/control/thingspace/drain", {"timeoutSeconds": _MOST_S}, also=504)
            took_s = time.perf_counter() - began
        held_mb = (before_mb, watched.highest_mb, memory_mb(process))
        _print(watched, sent["callbacks"], took_s, held_mb)
        busy_s = {name: spent_s - before_s[name] for name, spent_s in _cpu_s(process, sender).items()}
        print("busy: " + ", ".join(f"{name} {spent_s / took_s:.0%} of a core" for name, spent_s in busy_s.items()))
        return [
            *(f"{count} x {failure}" for failure, count in watched.failures.items()),
            *_wrong_callbacks(sent),
            *await _wrong_session(http, session["id"]),
            *await _wrong_reports(http),
        ]


async def _call(
    http: aiohttp.ClientSession, method: str, path: str, body: Json | None = None, *, also: int = 200
) -> Any:
    async with http.request(method, path, json=body) as response:
        if not (response.ok or response.status == also):
            raise RuntimeError(f"{method} {path} was answered with {response.status}: {await response.text()}")
        return await response.json()


async def _fleet(control: aiohttp.ClientSession, account: str) -> list[Json]:
    found: list[Json] = []
    offset = 0
    while len(found) < DEVICES:
        listed = (await _call(control, "GET", f"/control/devices?offset={offset}&limit={_PAGE}"))["devices"]
        offset += _PAGE
        found += [{"imei": one["imei"], "mdn": one["mdn"]} for one in listed if one["account"] == account]
    return found[:DEVICES]


@asynccontextmanager
async def _watching(http: aiohttp.ClientSession, process: psutil.Process) -> AsyncIterator[Watched]:
    """Ask one thing after the other, and look at the memory, while the block lasts."""
    watched = Watched(highest_mb=memory_mb(process))
    tasks = [
        asyncio.create_task(_ask(http, watched, "GET /readyz")),
        asyncio.create_task(_ask(http, watched, "POST /locate")),
        asyncio.create_task(_look(process, watched)),
    ]
    try:
        yield watched
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if not isinstance(outcome, asyncio.CancelledError):
            raise RuntimeError("What watches the gateway has ended before") from outcome  # noqa: TRY004 -- no type is at fault


async def _ask(http: aiohttp.ClientSession, watched: Watched, what: str) -> None:
    method, path = what.split()
    for number in itertools.count():
        began = time.perf_counter()
        try:
            async with http.request(method, path, json=_question(number) if method == "POST" else None) as response:
                await response.read()
                status = str(response.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            status = type(error).__name__
        watched.took_ms.setdefault(what, []).append((time.perf_counter() - began) * 1000)
        if status != "200":
            watched.failures[f"{what}: {status}"] += 1
        await asyncio.sleep(_ASK_EVERY_S)


def _question(number: int) -> Json:
    points = [
        {"macAddress": ":".join(f"{part:02x}" for part in (2, 0, end, *number.to_bytes(3))), "signalStrength": -60}
        for end in range(3)
    ]
    return {"measurements": {"wifiAccessPoints": points}}


async def _look(process: psutil.Process, watched: Watched) -> None:
    while True:
        watched.highest_mb = max(watched.highest_mb, memory_mb(process))
        await asyncio.sleep(_LOOK_EVERY_S)


def _cpu_s(gateway: psutil.Process, sender: psutil.Process) -> dict[str, float]:
    """Read what those who are involved have spent so far; Postgres is the gateway's child."""
    groups = {
        "gateway": [gateway],
        "its Postgres": gateway.children(recursive=True),
        "simulator": [sender],
        "this process": [psutil.Process()],
    }
    return {name: sum(_spent_s(process) for process in group) for name, group in groups.items()}


def _spent_s(process: psutil.Process) -> float:
    try:
        spent = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(spent.user + spent.system)


def _print(watched: Watched, callbacks: Json, took_s: float, held_mb: tuple[float, float, float]) -> None:
    count = callbacks["acknowledged"]
    print(f"{count:,} callbacks of {DEVICES:,} devices in {took_s:.1f} s = {count / took_s:,.0f}/s;")
    print(f"  sent again: {callbacks['retried']:,}; refused for good: {callbacks['given_up']:,}")
    before, highest, after = held_mb
    print(f"resident memory of the gateway: {before:.0f} MB before, {highest:.0f} MB at most, {after:.0f} MB after")
    for what, took_ms in watched.took_ms.items():
        ranks = statistics.quantiles(took_ms, n=100)
        failed = sum(number for failure, number in watched.failures.items() if failure.startswith(what))
        print(f"{what}: {len(took_ms):,} asked, p50 {ranks[49]:.1f} ms, p99 {ranks[98]:.1f} ms, {failed} failed")


def _wrong_callbacks(sent: Json) -> list[str]:
    callbacks = sent["callbacks"]
    wrong = [] if sent["idle"] else [f"after {_MOST_S} s {sent['underWay']:,} callbacks were still under way"]
    wrong += [
        f"{callbacks[name]:,} callbacks: {name}" for name in ("given_up", "lost", "unaddressed") if callbacks[name]
    ]
    if callbacks["acknowledged"] != DEVICES * FIXES:
        wrong.append(f"{callbacks['acknowledged']:,} callbacks were acknowledged instead of {DEVICES * FIXES:,}")
    return wrong


async def _wrong_session(http: aiohttp.ClientSession, session_id: str) -> list[str]:
    """Compare the counts of a session, and of each of its devices, with what they have to be."""
    session = await _call(http, "GET", f"/periodic/{session_id}")
    counts, every = session["reports"], DEVICES * FIXES
    expected = {"expected": every, "due": every, "received": every, "failed": 0, "missing": 0}
    wrong = [] if counts == expected else [f"the session counts {counts}"]
    if session["state"] != "completed":
        wrong.append(f"the session is {session['state']}")
    devices: list[Json] = []
    cursor = ""
    while cursor is not None:
        page = await _call(http, "GET", f"/periodic/{session_id}/devices?limit={_PAGE}{cursor and '&cursor=' + cursor}")
        devices, cursor = devices + page["devices"], page["next"]
    exact = sum((one["received"], one["failed"], one["missing"]) == (FIXES, 0, 0) for one in devices)
    print(f"session {session['state']}; devices with exactly {FIXES} received, 0 failed, 0 missing: {exact:,}")
    if (exact, len(devices)) != (DEVICES, DEVICES):
        wrong.append(f"{exact:,} of {len(devices):,} devices have exact counts")
    return wrong


async def _wrong_reports(http: aiohttp.ClientSession) -> list[str]:
    """Count the reports that are stored; fixes of `/locate` have no transaction."""
    count = 0
    async with http.get("/reports", headers={"Accept": "application/x-ndjson"}) as response:
        response.raise_for_status()
        async for line in response.content:
            count += json.loads(line)["transactionId"] is not None
    print(f"reports stored: {count:,}")
    return [] if count == DEVICES * FIXES else [f"{count:,} reports are stored instead of {DEVICES * FIXES:,}"]
