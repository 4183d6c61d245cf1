"""What a year costs: two million reports, 100,000 devices, 1,000 sessions of 10,000 devices, a partition for each day.

The partitions are merged as a running gateway merges them; then everything is asked of a whole gateway.
"""

import asyncio
import http.client
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import quote, urlsplit

import asyncpg
from rich.console import Console
from rich.table import Table

from app.embedded_postgres import EmbeddedPostgres
from app.storage import partition_merges, partitions
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.urls import to_dsn
from benchmarks.figures import Goal
from benchmarks.ingest import add_session, rows_per_s
from benchmarks.plan import Plan, on_the_other_cores
from benchmarks.servers import API_KEY, folder, gateway
from benchmarks.year import FIRST_IMEI, Year, fill

_READERS = 100
_YEAR = Year()
_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "max_locks_per_transaction": "512"}
_SIZES = """
SELECT
    (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'reports'::regclass)
        / (SELECT count(*) FROM reports) AS report,
    (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'callbacks'::regclass)
        / (SELECT count(*) FROM callbacks) AS callback,
    (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'audit'::regclass)
        / (SELECT count(*) FROM audit) AS audit_row,
    pg_total_relation_size('session_devices') / (SELECT count(*) FROM session_devices) AS session_device,
    pg_total_relation_size('positions') / (SELECT count(*) FROM positions) AS position
"""

Ask = Callable[[random.Random], str]


def _device(dice: random.Random) -> str:
    return str(FIRST_IMEI + dice.randrange(_YEAR.devices))


def _session(dice: random.Random) -> str:
    return f"t-{dice.randrange(_YEAR.sessions)}"


PAGES: dict[str, Ask] = {
    "newest reports": lambda _: "/reports",
    "reports of a device": lambda dice: f"/reports?imei={_device(dice)}",
    "reports of a device, oldest first": lambda dice: f"/reports?imei={_device(dice)}&order=asc",
    "reports of a device that has none": lambda _: "/reports?imei=123456789012345",
    "reports of a transaction": lambda dice: f"/reports?transactionId={_session(dice)}",
    "a device's location": lambda dice: f"/devices/{_device(dice)}/location",
    "positions in a box": lambda _: "/positions?bbox=-100,30,-96,34",
    "sessions": lambda _: "/periodic",
    "running sessions": lambda _: "/periodic?state=active",
    "a session": lambda dice: f"/periodic/{_session(dice)}",
    "devices of a session": lambda dice: f"/periodic/{_session(dice)}/devices",
    "reports of a session": lambda dice: f"/periodic/{_session(dice)}/reports",
    "callbacks": lambda _: "/callbacks",
    "audit trail": lambda _: "/audit",
}
AUDIT: Ask = lambda dice: f"/audit?device={_device(dice)}"  # noqa: E731 -- like its neighbours


def run(plan: Plan) -> None:
    """Fill a database, measure, and judge."""
    with _server() as server:
        asyncio.run(_fill(server.url))
        measure(server.url, plan)


@contextmanager
def _server() -> Iterator[EmbeddedPostgres]:
    with folder() as path:
        with on_the_other_cores():
            server = EmbeddedPostgres(path, die_with_parent=True, settings=_SETTINGS)
            server.start()
        try:
            yield server
        finally:
            server.stop()


async def _fill(url: str) -> None:
    await upgrade(url)
    database = Database(url)
    async with database.connection() as connection:
        step = partitions.DAYS_BEHIND + partitions.DAYS_AHEAD + 1
        for day in range(0, _YEAR.days + step, step):
            await partitions.keep_ready(connection, _YEAR.start + timedelta(days=day))
        await connection.execute("SET synchronous_commit = off")
        await fill(connection, _YEAR)
        started = time.perf_counter()
        made = await partition_merges.carry_out(connection, {}, await connection.fetchval("SELECT now()"))
        print(f"{len(made)} merges in {time.perf_counter() - started:.0f} s")
    await database.aclose()


def measure(url: str, plan: Plan) -> None:
    """Measure at a database that is full."""
    print(asyncio.run(_bytes_each(url)))
    count = 4 * plan.rounds * plan.seconds
    table = Table(title="Requests, ms", title_justify="left")
    for heading in ("", "first", "p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    p50 = {}
    with gateway({"GATEWAY_DATABASE_URL": url}) as address:
        for name, ask in {**PAGES, "audit trail of a device": AUDIT}.items():
            first, *others = _time(address, ask, count)
            ranks = statistics.quantiles(others, n=100)
            p50[name] = ranks[49]
            table.add_row(name, *(f"{value:.1f}" for value in (first, ranks[49], ranks[98])))
        halves = _walk(address)
    Console().print(table)
    Goal("slowest page, p50 ms", floor=50, goal=20, less=True).judge(max(p50[name] for name in PAGES))
    Goal("/periodic, p50 ms", floor=50, goal=20, less=True).judge(p50["sessions"])
    Goal("/audit?device=, p50 ms", floor=100, goal=20, less=True).judge(p50["audit trail of a device"])
    print(f"all positions, a thousand at a time: {sum(halves):.1f} s")
    Goal("second half ÷ first half", floor=1.5, goal=1.1, less=True).judge(halves[1] / halves[0])
    Goal("reads over all days that failed", floor=0, goal=0, less=True).judge(asyncio.run(_read_at_once(url)))
    Goal("ingest ÷ that of an empty database", floor=0.8, goal=0.9).judge(asyncio.run(_ingest_ratio(url, plan)))


async def _bytes_each(url: str) -> str:
    connection = await asyncpg.connect(to_dsn(url))
    row = await connection.fetchrow(_SIZES, timeout=300)
    await connection.close()
    assert row is not None
    return "bytes with indexes: " + ", ".join(f"{name.replace('_', ' ')} {int(size)}" for name, size in row.items())


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path, headers={"Authorization": f"Bearer {API_KEY}"})
    response = connection.getresponse()
    body = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} was answered {response.status}")
    return body


def _time(address: str, ask: Ask, count: int) -> list[float]:
    dice = random.Random(3)
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    took_ms = []
    for _ in range(count):
        started = time.perf_counter()
        _get(connection, ask(dice))
        took_ms.append((time.perf_counter() - started) * 1000)
    connection.close()
    return took_ms


def _walk(address: str) -> tuple[float, float]:
    """Read all positions page by page; return how many seconds each half took."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    took_s = []
    path: str | None = "/positions?limit=1000"
    while path is not None:
        started = time.perf_counter()
        following = json.loads(_get(connection, path))["next"]
        took_s.append(time.perf_counter() - started)
        path = f"/positions?limit=1000&cursor={quote(following)}" if following else None
    connection.close()
    middle = len(took_s) // 2
    return sum(took_s[:middle]), sum(took_s[middle:])


async def _read_at_once(url: str) -> int:
    """Count the failures among a hundred transactions that read over all days at the same time."""
    all_have_read = asyncio.Barrier(_READERS)

    async def read() -> None:
        connection = await asyncpg.connect(to_dsn(url))
        try:
            async with connection.transaction():
                await connection.fetch("SELECT * FROM reports ORDER BY at DESC, id DESC LIMIT 100")
                await all_have_read.wait()
        except BaseException:
            await all_have_read.abort()
            raise
        finally:
            await connection.close()

    done = await asyncio.gather(*(read() for _ in range(_READERS)), return_exceptions=True)
    return sum(isinstance(one, asyncpg.PostgresError) for one in done)


async def _ingest_ratio(url: str, plan: Plan) -> float:
    """Store full batches into the full database and into an empty one in turn; return the median of the ratios."""
    full = await asyncpg.connect(to_dsn(url))
    await full.execute("CREATE DATABASE empty TEMPLATE template0")
    before, _, after = url.rpartition("/")
    empty = f"{before}/empty{after[len('gateway') :]}"
    await upgrade(empty)
    database = Database(empty)
    await partitions.keep(database)
    async with database.connection() as connection:
        await add_session(connection)
        await connection.execute("ANALYZE")
    await database.aclose()
    await add_session(full)
    await full.execute("ANALYZE sessions, session_devices, session_transactions")
    ratios = [await rows_per_s(url) / await rows_per_s(empty) for _ in range(plan.rounds)]
    await full.execute("DROP DATABASE empty WITH (FORCE)")
    await full.close()
    return statistics.median(ratios)
