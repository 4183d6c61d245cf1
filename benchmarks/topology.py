"""What a second gateway, a pooler and a standby for reading add, to callbacks and to pages; all on this one machine."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import aiohttp

from app.simulator.options import Options
from benchmarks.failover import TOKEN, callback, servers
from benchmarks.plan import Plan
from benchmarks.servers import API_KEY, folder, free_port, gateway
from tests.support.poolers import PROGRAM, pooler

CONNECTIONS = 32
_numbers = count(1)

Ask = Callable[[aiohttp.ClientSession, str], Awaitable[int]]


async def _post(http: aiohttp.ClientSession, url: str) -> int:
    number = next(_numbers)
    body = callback(number, f"t-{number}")
    async with http.post(f"{url}/callbacks/thingspace/{TOKEN}", json=body) as response:
        return response.status


async def _page(http: aiohttp.ClientSession, url: str) -> int:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with http.get(f"{url}/reports?limit=100&type=location", headers=headers) as response:
        await response.read()
        return response.status


async def _rate(urls: Sequence[str], ask: Ask, seconds: int) -> float:
    """Count good answers a second, over connections spread over the gateways."""
    good, until = 0, time.monotonic() + seconds

    async def go_on(url: str) -> None:
        nonlocal good
        while time.monotonic() < until:
            status = await ask(http, url)
            good += status == 200

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(go_on(urls[number % len(urls)]) for number in range(CONNECTIONS)))
    return good / seconds


def _measure(name: str, plan: Plan, env: Mapping[str, str], gateways: int) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(gateway(env, pinned=False)) for _ in range(gateways)]
        callbacks, pages = [asyncio.run(_rate(urls, ask, plan.seconds)) for ask in (_post, _page)]
    print(f"| {name} | {callbacks:,.0f}/s | {pages:,.0f}/s |", flush=True)


def _play(plan: Plan, path: Path, stack: ExitStack) -> None:
    primary, standby = stack.enter_context(servers(path, synchronous=False))
    nobody = f"http://127.0.0.1:{free_port()}"
    env = {
        "GATEWAY_DATABASE_URL": primary.url,
        "THINGSPACE_CALLBACK_TOKEN": TOKEN,
        **Options().gateway_settings(nobody, nobody),
    }
    print("| Topology | Callbacks | Pages of 100 |\n|---|---|---|", flush=True)
    _measure("one gateway", plan, env, 1)
    _measure("two gateways", plan, env, 2)
    _measure("two gateways, a standby for reading", plan, env | {"GATEWAY_DATABASE_READ_URL": standby.url}, 2)
    if PROGRAM is None:
        print("| with PgBouncer | left out: it is not installed | |", flush=True)
        return
    (path / "pooler").mkdir()
    pooled = stack.enter_context(pooler(primary.url, path / "pooler", free_port(), "transaction"))
    env |= {"GATEWAY_DATABASE_URL": pooled, "GATEWAY_DATABASE_DIRECT_URL": primary.url}
    _measure("two gateways, PgBouncer", plan, env, 2)
    env |= {"GATEWAY_DATABASE_READ_URL": standby.url}
    _measure("two gateways, PgBouncer, a standby for reading", plan, env, 2)


def run(plan: Plan) -> None:
    """Measure all topologies, one after the other; about a minute."""
    with folder() as path, ExitStack() as stack:
        _play(plan, path, stack)
