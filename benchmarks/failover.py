"""Failovers under load: real streaming replication on loopback, two gateways, and senders that repeat what was refused.

A callback counts as acknowledged from its first 200 on. At the end each has to be stored once, whatever was killed.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from app.embedded_postgres import EmbeddedPostgres
from app.simulator.options import Options
from app.storage.migrate import upgrade
from benchmarks.plan import Plan
from benchmarks.servers import API_KEY, folder, free_port, gateway
from tests.support.replication import frozen, kill, promote, start_standby, url_of

SENDERS = 8
CALM_S = 2.0
NOTICED_AFTER_S = 7.0
"""How long whoever watches over the servers takes to decide on a promotion."""
MOST_GAP_S = 1.0
TOKEN = "token-of-the-failover"
_IMEI = 990_001_123_400_000


@dataclass(kw_only=True)
class Stage:
    """Gateways on a pair of servers, and what was seen of them.

    Attributes:
        answers: When an answer came, where from, and its status; for callbacks and pages.
        acknowledged: Transactions of callbacks that were answered with 200.
    """

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    gateways: Sequence[str]
    http: aiohttp.ClientSession
    answers: list[tuple[float, str, str, int]] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    number: int = 0

    def first_good_after(self, instant: float, kind: str, origin: str) -> float:
        """Tell how long after an instant the first good answer of a kind came from a gateway."""
        times = [at for at, what, where, status in self.answers if (what, where, status) == (kind, origin, 200)]
        return min((at - instant for at in times if at >= instant), default=float("inf"))

    def statuses(self) -> str:
        """Sum up the answers."""
        counted = Counter((kind, status) for _, kind, _, status in self.answers)
        return ", ".join(f"{count} {kind} {status or 'no answer'}" for (kind, status), count in sorted(counted.items()))


Experiment = Callable[[Stage], Awaitable[list[str]]]


@contextlib.contextmanager
def servers(path: Path, *, synchronous: bool) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """Run a primary, migrated, and a standby of it, which each commit waits for where that is wanted."""
    with ExitStack() as stack:
        names = {"synchronous_standby_names": "FIRST 1 (standby)"} if synchronous else {}
        primary = EmbeddedPostgres(path / "primary", die_with_parent=True, settings=names)
        primary.start()
        stack.callback(primary.stop)
        standby = start_standby(primary, path / "standby")
        stack.callback(standby.stop)
        asyncio.run(upgrade(primary.url))
        yield primary, standby


@asynccontextmanager
async def _load(stage: Stage) -> AsyncIterator[None]:
    """Post callbacks to all gateways, and read pages from them, while the block lasts."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_send(stage, origin, stop)) for origin in stage.gateways for _ in range(SENDERS)]
    tasks += [asyncio.create_task(_read(stage, origin, stop)) for origin in stage.gateways]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def _send(stage: Stage, origin: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        stage.number += 1
        transaction = f"t-{stage.number}"
        body = callback(stage.number, transaction)
        status = 0
        while status != 200:
            status = await _ask(stage, "callback", origin, f"/callbacks/thingspace/{TOKEN}", json=body)
            await asyncio.sleep(0.01 if status == 200 else 0.05)
        stage.acknowledged.add(transaction)


async def _read(stage: Stage, origin: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await _ask(stage, "page", origin, "/reports?limit=10")
        await asyncio.sleep(0.05)


async def _ask(stage: Stage, kind: str, origin: str, path: str, json: Any = None) -> int:
    status = 0
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        method = "POST" if json is not None else "GET"
        async with stage.http.request(method, origin + path, json=json, headers=headers) as response:
            await response.read()
            status = response.status
    stage.answers.append((time.monotonic(), kind, origin, status))
    return status


def callback(number: int, transaction: str) -> dict[str, Any]:
    """Make a callback about a device of its own."""
    at = datetime.now(UTC) - timedelta(seconds=1)
    position = {"time": f"{at:%Y%m%d%H%M%S}", "x": "42.1", "y": "-71.2", "radius": "35", "locationType": "1"}
    device = {"id": str(_IMEI + number), "kind": "IMEI", "mdn": f"{5_000_000_000 + number}", "positionData": position}
    return {
        "accountName": "0844559123-00001",
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": transaction,
    }


async def _stored(server: EmbeddedPostgres) -> Counter[str]:
    connection = await asyncpg.connect(server.url)
    try:
        rows = await connection.fetch("SELECT transaction_id FROM reports")
    finally:
        await connection.close()
    return Counter(row["transaction_id"] for row in rows)


async def _judged(stage: Stage, server: EmbeddedPostgres) -> list[str]:
    """Name what must not have happened."""
    stored = await _stored(server)
    lost = len(stage.acknowledged - set(stored))
    doubled = sum(count > 1 for count in stored.values())
    odd = sorted({status for _, _, _, status in stage.answers} - {200, 503, 0})
    print(f"  {len(stage.acknowledged)} acknowledged, {lost} lost, {doubled} doubled; {stage.statuses()}", flush=True)
    return [
        *([f"{lost} acknowledged callbacks were lost"] if lost else []),
        *([f"{doubled} callbacks were stored twice"] if doubled else []),
        *([f"answers with status {odd}"] if odd else []),
    ]


def _gaps(stage: Stage, since: float) -> list[str]:
    """Say how long after an instant each gateway answered well, and complain where that was long."""
    problems = []
    for kind in ("callback", "page"):
        gaps = [stage.first_good_after(since, kind, origin) for origin in stage.gateways]
        print(f"  first {kind} after the promotion: {', '.join(f'{gap:.2f} s' for gap in gaps)}", flush=True)
        problems += [f"a {kind} took {gap:.1f} s after the promotion" for gap in gaps if gap > MOST_GAP_S]
    return problems


async def primary_killed(stage: Stage) -> list[str]:
    """Kill the primary with SIGKILL, and promote the standby."""
    async with _load(stage):
        await asyncio.sleep(CALM_S)
        await asyncio.to_thread(kill, stage.primary)
        await asyncio.sleep(NOTICED_AFTER_S)
        await asyncio.to_thread(promote, stage.standby)
        promoted = time.monotonic()
        await asyncio.sleep(CALM_S + MOST_GAP_S)
    return _gaps(stage, promoted) + await _judged(stage, stage.standby)


async def primary_frozen(stage: Stage) -> list[str]:
    """Freeze the primary, which goes on holding its connections, and promote the standby."""
    async with _load(stage):
        await asyncio.sleep(CALM_S)
        with frozen(stage.primary):
            await asyncio.sleep(NOTICED_AFTER_S)
            await asyncio.to_thread(promote, stage.standby)
            promoted = time.monotonic()
            await asyncio.sleep(CALM_S + MOST_GAP_S)
        await asyncio.sleep(CALM_S)
    return _gaps(stage, promoted) + await _judged(stage, stage.standby)


async def synchronous_standby_dies(stage: Stage) -> list[str]:
    """Stop the standby that each commit waits for: nothing may be acknowledged, and `/readyz` has to say so."""
    async with _load(stage):
        await asyncio.sleep(CALM_S)
        with frozen(stage.standby):
            stopped, said_no = time.monotonic(), dict.fromkeys(stage.gateways, float("inf"))
            while time.monotonic() - stopped < NOTICED_AFTER_S:
                for origin in stage.gateways:
                    if said_no[origin] == float("inf") and await _ask(stage, "readyz", origin, "/readyz") == 503:
                        said_no[origin] = time.monotonic() - stopped
                await asyncio.sleep(0.1)
        resumed = time.monotonic()
        await asyncio.sleep(CALM_S + MOST_GAP_S)
    print(f"  /readyz said no after {', '.join(f'{wait:.1f} s' for wait in said_no.values())}", flush=True)
    problems = [f"/readyz never said no at {origin}" for origin, wait in said_no.items() if wait == float("inf")]
    late = [stage.first_good_after(resumed, "callback", origin) for origin in stage.gateways]
    print(f"  first callback once it was back: {', '.join(f'{wait:.2f} s' for wait in late)}", flush=True)
    return problems + await _judged(stage, stage.primary)


EXPERIMENTS: dict[str, Experiment] = {
    "primary killed": primary_killed,
    "primary frozen": primary_frozen,
    "synchronous standby frozen": synchronous_standby_dies,
}


async def _play(experiment: Experiment, primary: EmbeddedPostgres, standby: EmbeddedPostgres, urls: list[str]) -> Any:
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        return await experiment(Stage(primary=primary, standby=standby, gateways=urls, http=http))


def play(name: str) -> list[str]:
    """Play one experiment on servers of its own; return what must not have happened."""
    print(f"{name}:", flush=True)
    with folder() as path, ExitStack() as stack:
        primary, standby = stack.enter_context(servers(path, synchronous=True))
        nobody = f"http://127.0.0.1:{free_port()}"
        env = {
            "GATEWAY_DATABASE_URL": url_of(primary, standby),
            "THINGSPACE_CALLBACK_TOKEN": TOKEN,
            **Options().gateway_settings(nobody, nobody),
        }
        urls = [stack.enter_context(gateway(env, pinned=False)) for _ in range(2)]
        problems: list[str] = asyncio.run(_play(EXPERIMENTS[name], primary, standby, urls))
        return [f"{name}: {problem}" for problem in problems]


def run(_: Plan) -> None:
    """Play all experiments; about two minutes."""
    problems = [problem for name in EXPERIMENTS for problem in play(name)]
    if problems:
        raise SystemExit("This must not happen:\n  " + "\n  ".join(problems))
