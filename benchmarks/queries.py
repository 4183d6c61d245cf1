"""What reading costs at five million reports of 10,000 devices over 30 days.

Every query is timed three times over: as the statement alone on a connection, as the function of `app.storage.reports`
with its session, and as a request to the whole gateway; its plan is shown beside it.
"""

import asyncio
import http.client
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from rich.console import Console
from rich.table import Table

from app.embedded_postgres import EmbeddedPostgres
from app.identifiers import readings
from app.ids import new_id, public_id
from app.storage import partitions, reports
from app.storage.database import Database
from app.storage.migrate import upgrade
from app.storage.reports import Box, ReportCursor, ReportFilter
from benchmarks.figures import Goal
from benchmarks.plan import Plan, on_the_other_cores
from benchmarks.servers import API_KEY, folder, gateway, memory_mb, process_at

DAYS = 30
REPORTS = 5_000_000
DEVICES = 10_000
TRANSACTIONS = 500
EXPORTED = 1_000_000
_LOOK_EVERY_S = 0.05
_PAGE_GOAL = Goal("slowest page, p99 ms", floor=5, goal=2, less=True)
_START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)

FAILED = f"(n + n / {DEVICES}) % 20 = 0"
LOAD = f"""
INSERT INTO reports (
    at, id, provider, type, status, account, transaction_id, device, device_kind, mdn,
    latitude, longitude, accuracy_m, source, cached, received_at, error_type, error_info
)
SELECT
    at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || left(md5(n::text), 20))::uuid,
    'thingspace', 'location', CASE WHEN {FAILED} THEN 'failed' ELSE 'located' END, '0844559123-00001',
    't-' || (n * 7919 % {DEVICES}) / ({DEVICES} / {TRANSACTIONS}), (990001000000000 + n * 7919 % {DEVICES})::text,
    'imei', (5085550000 + n * 7919 % {DEVICES})::text,
    CASE WHEN NOT ({FAILED}) THEN 25 + n * 7919 % {DEVICES} % 100 / 4.0 + random() / 10 END,
    CASE WHEN NOT ({FAILED}) THEN -125 + n * 7919 % {DEVICES} / 100 / 2.0 + random() / 10 END,
    35, 'network', false, at + interval '2 seconds',
    CASE WHEN {FAILED} THEN 'POSITION METHOD FAILURE' END, CASE WHEN {FAILED} THEN 'absent subscriber' END
FROM generate_series($1::bigint, $2::bigint - 1) AS n
CROSS JOIN LATERAL (
    SELECT date_trunc('milliseconds', $3::timestamptz + n * interval '{DAYS} days' / {REPORTS}) AS at
) AS dated
"""
POSITIONS = """
INSERT INTO positions (account, device, at, report_id, provider, mdn, latitude, longitude)
SELECT DISTINCT ON (device) account, device, at, id, provider, mdn, latitude, longitude
FROM reports WHERE status = 'located' AND at > $1 ORDER BY device, at DESC
"""
ALIASES = f"""
INSERT INTO account_aliases (device, mdn, account, device_kind, learned_at)
SELECT (990001000000000 + n)::text, (5085550000 + n)::text, '0844559123-00001', 'imei', now()
FROM generate_series(0, {DEVICES} - 1) AS n
"""

INDEXES = """
SELECT indexrelid::regclass::text AS name, replace(pg_get_indexdef(indexrelid), 'ON ONLY', 'ON') AS definition
FROM pg_index WHERE indrelid = 'reports'::regclass AND NOT indisprimary
"""
"""The indexes beside the primary key; made anew, they are in place sooner than kept up with each row."""

Run = Callable[[Database], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing to read, with other arguments each time.

    Attributes:
        ask: Makes the call and the path of the request that come to the same.
        is_page: Whether the goal for pages holds for it.
    """

    name: str
    ask: Callable[[random.Random], tuple[Run, str]]
    is_page: bool = True


def _page(path: str, wanted: ReportFilter, *, after: ReportCursor | None = None, limit: int = 100) -> tuple[Run, str]:
    return lambda database: reports.page(database, wanted, after=after, limit=limit), path


def _imei(dice: random.Random) -> str:
    return str(990001000000000 + dice.randrange(DEVICES))


def _latest(dice: random.Random) -> tuple[Run, str]:
    imei = _imei(dice)
    return lambda database: reports.latest_of_device(database, readings(imei)), f"/devices/{imei}/location"


def _device(dice: random.Random) -> tuple[Run, str]:
    imei = _imei(dice)
    return _page(f"/reports?imei={imei}", ReportFilter(device_id=imei))


def _transaction(dice: random.Random) -> tuple[Run, str]:
    transaction = f"t-{dice.randrange(TRANSACTIONS)}"
    return _page(f"/reports?transactionId={transaction}", ReportFilter(transaction_id=transaction))


def _deep(dice: random.Random) -> tuple[Run, str]:
    at = _START + timedelta(seconds=dice.randrange(1000, 4 * 86_400))
    key = new_id(at).to_uuid()
    return _page(f"/reports?cursor={public_id(key)}", ReportFilter(), after=ReportCursor(at, key))


def _newest(_: random.Random) -> tuple[Run, str]:
    return _page("/reports", ReportFilter())


def _area(dice: random.Random, size_deg: float) -> tuple[Box, str]:
    west, south = -125 + dice.random() * 48, 25 + dice.random() * 23
    box = Box(west_deg=west, south_deg=south, east_deg=west + size_deg, north_deg=south + size_deg)
    return box, f"{box.west_deg},{box.south_deg},{box.east_deg},{box.north_deg}"


def _box_of_positions(dice: random.Random) -> tuple[Run, str]:
    box, written = _area(dice, 4)
    return lambda database: reports.positions_page(database, box=box), f"/positions?bbox={written}"


def _box_of_history(dice: random.Random) -> tuple[Run, str]:
    box, written = _area(dice, 2)
    since = _START + timedelta(days=dice.randrange(1, DAYS - 1))
    until = since + timedelta(hours=6)
    times = urlencode({"since": since.isoformat(), "until": until.isoformat()})
    return _page(f"/reports?bbox={written}&{times}", ReportFilter(box=box, since=since, until=until))


def _rare(_: random.Random) -> tuple[Run, str]:
    return _page("/reports?account=nobody", ReportFilter(account="nobody"))


QUESTIONS = (
    Question(name="latest position of a device", ask=_latest),
    Question(name="a device's page of 100", ask=_device),
    Question(name="a transaction's page of 100", ask=_transaction),
    Question(name="newest page of 100", ask=_newest),
    Question(name="page of 100, 26 to 30 days deep", ask=_deep),
    Question(name="positions in a box (64 devices)", ask=_box_of_positions),
    Question(name="history in a box, 6 hours", ask=_box_of_history, is_page=False),
    Question(name="history of an account without any", ask=_rare, is_page=False),
)


def run(plan: Plan) -> None:
    """Fill a database, measure every question, and judge the slowest page."""
    with _filled() as url:
        asyncio.run(_measure_all(url, plan))
        _export(url, "text/csv", header_lines=1)
        _export(url, "application/x-ndjson", header_lines=0)


@contextmanager
def _filled() -> Iterator[str]:
    with folder() as path:
        with on_the_other_cores():
            # Loading need not be durable, and reading does not care.
            settings = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
            server = EmbeddedPostgres(path, fsync=False, die_with_parent=True, settings=settings)
            server.start()
        try:
            asyncio.run(_fill(server.url))
            yield server.url
        finally:
            server.stop()


async def _fill(url: str) -> None:
    started = time.perf_counter()
    await upgrade(url)
    database = Database(url)
    connection = await database.connect()
    for day in range(DAYS):
        await partitions.keep_ready(connection, _START + timedelta(days=day))
    indexes = await connection.fetch(INDEXES)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    per_day = REPORTS // DAYS
    for day in range(DAYS):
        last = REPORTS if day == DAYS - 1 else (day + 1) * per_day
        await connection.execute(LOAD, day * per_day, last, _START, timeout=600)
    for index in indexes:
        await connection.execute(index["definition"], timeout=600)
    await connection.execute(POSITIONS, _START + timedelta(days=DAYS - 2), timeout=600)
    await connection.execute(ALIASES)
    await connection.execute("VACUUM (ANALYZE) reports", timeout=600)
    await connection.execute("VACUUM (ANALYZE) positions, account_aliases")
    size = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    await connection.close()
    await database.aclose()
    print(f"{REPORTS:,} reports of {DEVICES:,} devices in {time.perf_counter() - started:.0f} s, {size} with indexes")


async def _measure_all(url: str, plan: Plan) -> None:
    database = _Noting(url)
    table = Table(title="Reading, ms", title_justify="left")
    for heading in ("", "statement p50", "p99", "function p50", "p99", "request p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    slowest_ms = 0.0
    plans = {}
    with gateway({"GATEWAY_DATABASE_URL": url}) as address:
        for question in QUESTIONS:
            count = plan.rounds * plan.seconds * (40 if question.is_page else 4)
            alone = await _time_statements(database, question, count)
            called = await _time_calls(database, question, count)
            requested = _time_requests(address, question, count)
            if question.is_page:
                slowest_ms = max(slowest_ms, called[1])
            table.add_row(question.name, *(f"{value:.2f}" for pair in (alone, called, requested) for value in pair))
            plans[question.name] = await _plan(database, question)
    Console().print(table)
    for name, lines in plans.items():
        print(f"\n{name}\n  " + "\n  ".join(lines))
    print()
    _PAGE_GOAL.judge(slowest_ms)
    await database.aclose()


def _percentiles(took_ms: list[float]) -> tuple[float, float]:
    ranks = statistics.quantiles(took_ms, n=100)
    return ranks[49], ranks[98]


class _Noting(Database):
    """Notes what it is asked to read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.noted: list[tuple[str, tuple[object, ...]]] = []

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        self.noted.append((statement, arguments))
        return await super().fetch(statement, *arguments)


async def _time_statements(database: _Noting, question: Question, count: int) -> tuple[float, float]:
    """Time how long Postgres takes, and the driver to read what it sends."""
    dice = random.Random(1)
    took_ms = []
    for _ in range(count):
        database.noted.clear()
        await question.ask(dice)[0](database)
        statements = list(database.noted)
        started = time.perf_counter()
        for statement, arguments in statements:
            await Database.fetch(database, statement, *arguments)
        took_ms.append((time.perf_counter() - started) * 1000)
    return _percentiles(took_ms[count // 10 :])


async def _time_calls(database: Database, question: Question, count: int) -> tuple[float, float]:
    dice = random.Random(2)
    took_ms = []
    for _ in range(count):
        ask, _path = question.ask(dice)
        started = time.perf_counter()
        await ask(database)
        took_ms.append((time.perf_counter() - started) * 1000)
    return _percentiles(took_ms[count // 10 :])


def _time_requests(address: str, question: Question, count: int) -> tuple[float, float]:
    dice = random.Random(3)
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    took_ms = []
    for _ in range(count):
        path = question.ask(dice)[1]
        started = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {API_KEY}"})
        response = connection.getresponse()
        response.read()
        took_ms.append((time.perf_counter() - started) * 1000)
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{question.name} was answered {response.status}")
    connection.close()
    return _percentiles(took_ms[count // 10 :])


async def _plan(database: _Noting, question: Question) -> list[str]:
    """Describe the plan of a question's main statement: what it reads, along which index, in how many partitions."""
    database.noted.clear()
    await question.ask(random.Random(4))[0](database)
    statement, arguments = database.noted[0]
    explained = await Database.fetch(database, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
    lines: dict[str, int] = {}
    _describe(json.loads(explained[0][0])[0]["Plan"], lines, depth=0)
    return [f"{line}, {times} times" if times > 1 else line for line, times in lines.items()]


def _describe(node: dict[str, Any], lines: dict[str, int], depth: int) -> None:
    # Partitions differ by the day in their names alone.
    index = "_".join(part for part in node.get("Index Name", "").split("_") if not part.isdecimal())
    never = " (never executed)" if node["Actual Loops"] == 0 else ""
    line = "  " * depth + " ".join(filter(None, (node["Node Type"], node.get("Scan Direction"), index))) + never
    lines[line] = lines.get(line, 0) + 1
    for part in node.get("Plans", ()):
        _describe(part, lines, depth + 1)


def _export(url: str, media_type: str, header_lines: int) -> None:
    """Stream a million reports through the gateway, and show the rate and the memory of its process.

    Raises:
        SystemExit: Another number of reports came than there are.
    """
    span = timedelta(days=DAYS) * EXPORTED / REPORTS
    since = _START + timedelta(days=DAYS) - span
    expected = asyncio.run(_count(url, since))
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": media_type}
    with gateway({"GATEWAY_DATABASE_URL": url}) as address:
        process = process_at(address)
        before_mb = highest_mb = memory_mb(process)
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        started = looked_at = time.perf_counter()
        connection.request("GET", f"/reports?{urlencode({'since': since.isoformat()})}", headers=headers)
        response = connection.getresponse()
        rows, size, first_s = -header_lines, 0, 0.0
        while chunk := response.read1(1 << 20):
            first_s = first_s or time.perf_counter() - started
            rows, size = rows + chunk.count(b"\n"), size + len(chunk)
            if time.perf_counter() - looked_at > _LOOK_EVERY_S:
                looked_at, highest_mb = time.perf_counter(), max(highest_mb, memory_mb(process))
        took_s = time.perf_counter() - started
        connection.close()
    print(f"{media_type}: {rows:,} rows, {size / 1e6:.0f} MB in {took_s:.1f} s = {rows / took_s:,.0f} rows/s,")
    print(f"  first bytes after {first_s * 1000:.0f} ms; resident memory of the gateway: ", end="")
    print(f"{before_mb:.0f} MB before, {highest_mb:.0f} MB at most")
    if rows != expected:
        raise SystemExit(f"The export has {rows:,} rows; there are {expected:,} reports.")


async def _count(url: str, since: datetime) -> int:
    database = Database(url)
    found = await database.fetch("SELECT count(*) FROM reports WHERE at >= $1", since)
    await database.aclose()
    return int(found[0][0])


if __name__ == "__main__":
    run(Plan(rounds=5, seconds=5))
