"""A clock that jumps under the gateway, as a part of the failure drill: an hour ahead, and back.

The machine's own clock stays as it is. libfaketime, loaded into the gateway's process alone, lets it tell another
time, which is read from a file at every look. As with a real jump the monotonic clock goes on; the Postgres beside the
gateway keeps the right time, as one on another machine would.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from app.embedded_postgres import EmbeddedPostgres
from app.simulator.options import Options
from benchmarks.ground import Ground, send
from benchmarks.servers import API_KEY

_PLACES = ("lib/*/faketime", "lib64/faketime", "lib/faketime")
_DEVICES, _INTERVAL_S, _FIXES = 10, 2, 450
_ASK_EVERY_S = 0.5
_AHEAD = "+1h"
_AS_IT_IS = "+0"
_MOST_TOKENS = 6
"""Both of them at the beginning, when they are over by the clock that is ahead, and when it is put back."""

_BUSY = 0.9
_ENDS_IN_TIME_S = 5.0
_HEADERS = {"Authorization": f"Bearer {API_KEY}"}


def library() -> Path | None:
    """Find libfaketime; the variant for programs with threads."""
    found = (path for place in _PLACES for path in Path("/usr").glob(f"{place}/libfaketimeMT.so.1"))
    return next(found, None)


@asynccontextmanager
async def under_another_clock(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Run the gateway under a clock that can be moved, with a session under way, for as long as the block lasts."""
    # libfaketime lets the sleep of threads fail, which nothing in the gateway uses but what starts a Postgres.
    async with EmbeddedPostgres(ground.folder) as postgres:
        _set(ground, _AS_IT_IS)
        await _restart(ground, http, _environment(ground) | {"GATEWAY_DATABASE_URL": postgres.url})
        async with _session_under_way(ground, http):
            yield
        await _restart(ground, http)


@asynccontextmanager
async def _session_under_way(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    beginning = (ground.folder / "gateway.log").stat().st_size
    tokens = await _tokens_asked_for(ground, http)
    async with http.put(f"{ground.url}/listeners/{Options().account}/DeviceLocation", json={}, headers=_HEADERS) as put:
        put.raise_for_status()
    plan = {"devices": await _devices(ground, http), "interval": _INTERVAL_S, "count": _FIXES, "maxAge": 0}
    async with http.post(f"{ground.url}/periodic", json=plan, headers=_HEADERS) as started:
        started.raise_for_status()
        ground.session = (await started.json())["id"]
    yield
    await _judge(ground, http, tokens)
    print(f"  logged meanwhile: {_logged(ground, beginning)}", flush=True)
    async with http.delete(f"{ground.url}/periodic/{ground.session}", headers=_HEADERS) as stopped:
        stopped.raise_for_status()


@asynccontextmanager
async def jumps(ground: Ground, http: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Put the gateway's clock ahead for as long as the block lasts, while devices are located by the network, too."""
    asking = asyncio.create_task(_ask(ground, http, await _devices(ground, http)))
    process = psutil.Process(ground.processes["gateway"].pid)
    try:
        _set(ground, _AHEAD)
        spent_s, began = _spent_s(process), time.monotonic()
        yield
        session = await _session(ground, http)
        busy = (_spent_s(process) - spent_s) / (time.monotonic() - began)
        print(f"  an hour ahead: session {session['state']}, {session['reports']}; {busy:.0%} of a core", flush=True)
        if busy > _BUSY:
            ground.problems.append(f"with the clock ahead the gateway spends {busy:.0%} of a core")
        _set(ground, _AS_IT_IS)
        await asyncio.sleep(_ENDS_IN_TIME_S)
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _judge(ground: Ground, http: aiohttp.ClientSession, tokens: int) -> None:
    """See whether everything is as if the clock had never been wrong."""
    first = await _session(ground, http)
    await asyncio.sleep(2 * _INTERVAL_S)
    session = await _session(ground, http)
    more = session["reports"]["received"] - first["reports"]["received"]
    asked = await _tokens_asked_for(ground, http) - tokens
    print(f"  back again: session {session['state']}, {session['reports']}; tokens asked for: {asked}", flush=True)
    if (session["state"], session["endedAt"], session["reports"]["missing"]) != ("active", None, 0) or not more:
        ground.problems.append(f"after the clock was put back the session is {session}")
    if asked > _MOST_TOKENS:
        ground.problems.append(f"{asked} tokens were asked for while the clock jumped")


def _environment(ground: Ground) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(ground.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
        "NO_FAKE_STAT": "1",
    }


def _set(ground: Ground, offset: str) -> None:
    # Replaced as a whole, for it may be read at any moment.
    new = ground.folder / "clock.new"
    new.write_text(f"{offset}\n")
    new.replace(ground.folder / "clock")


async def _restart(ground: Ground, http: aiohttp.ClientSession, env: dict[str, str] | None = None) -> None:
    await asyncio.to_thread(ground.end, "gateway")
    ground.start("gateway", env)
    await ground.ready(http, f"{ground.url}/readyz")


async def _devices(ground: Ground, http: aiohttp.ClientSession) -> list[dict[str, str]]:
    async with http.get(f"{ground.vendor_url}/control/devices?limit={2 * _DEVICES}") as response:
        listed = (await response.json())["devices"]
    mine = [{"imei": one["imei"], "mdn": one["mdn"]} for one in listed if one["account"] == Options().account]
    return mine[:_DEVICES]


async def _ask(ground: Ground, http: aiohttp.ClientSession, devices: list[dict[str, str]]) -> None:
    number = 0
    while True:
        number += 1
        body = {"device": devices[number % len(devices)], "maxAge": 0, "timeout": 10}
        await send(ground, http, "locate", "/locate", body)
        await asyncio.sleep(_ASK_EVERY_S)


async def _session(ground: Ground, http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get(f"{ground.url}/periodic/{ground.session}", headers=_HEADERS) as response:
        response.raise_for_status()
        session: dict[str, Any] = await response.json()
        return session


async def _tokens_asked_for(ground: Ground, http: aiohttp.ClientSession) -> int:
    async with http.get(f"{ground.vendor_url}/control/counters") as response:
        calls = (await response.json())["calls"]
    return sum(sum(by.values()) for route, by in calls.items() if route.endswith(("/token", "/session/login")))


def _spent_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _logged(ground: Ground, beginning: int) -> dict[str, int]:
    """Count what the gateway complained of."""
    with (ground.folder / "gateway.log").open("rb") as log:
        log.seek(beginning)
        lines = [json.loads(line) for line in log.read().splitlines() if line.startswith(b"{")]
    return dict(Counter(line["event"] for line in lines if line.get("level") in ("warning", "error")))
