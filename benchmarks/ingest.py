"""Durable callbacks: the gateway's door beside a raw hello, a FastAPI hello, and the obvious webhook."""

import asyncio
import json
import statistics
import time
from contextlib import ExitStack

import asyncpg

from app.model import AccountName, Mdn, SimpleFix, TransactionId
from app.storage.connections import Connection
from app.storage.rows import to_simple_fix_row
from app.storage.urls import to_dsn
from app.storage.writer import arguments
from app.storage.writer.statements import PLAN_BY_INDEX, store
from benchmarks import servers
from benchmarks.figures import Goal, ratio, show
from benchmarks.load import DEVICE, DIGITS, TIME, Runs, Target, measure_in_turn
from benchmarks.plan import Plan

_CONNECTIONS = (64, 256)
_TOKEN = "benchmark-callback-token"
_ACCOUNT = "0844559123-00001"
_TRANSACTION = "3d1c9a52-7b1e-4c3a-9f60-2a7c51e0b9d4"
_SLOW_FLUSH = {"commit_delay": "2000", "commit_siblings": "0"}
_ROWS = 20_000
_BATCH = 64

_SESSION = """
WITH started AS (
    INSERT INTO sessions (
        id, provider, account, state, transaction_id, interval_s, count, start_delay_s, max_age_s, devices_total,
        created_at, started_at
    )
    VALUES (gen_random_uuid(), 'thingspace', $1, 'active', $2, 60, 1000, 0, 120, 10000, now(), now())
    RETURNING id
), devices AS (
    INSERT INTO session_devices (session_id, device, mdn)
    SELECT id, '99000112000' || lpad(n::text, 4, '0'), '508555' || lpad(n::text, 4, '0')
    FROM started, generate_series(0, 9999) AS n
)
INSERT INTO session_transactions (transaction_id, session_id, kind, account) SELECT $2, id, 'start', $1 FROM started
"""


def run(plan: Plan) -> None:
    """Measure, and print the figures beside the goals."""
    with ExitStack() as running:
        database = running.enter_context(servers.database())
        asyncio.run(start_session(database))
        targets = {
            "gateway": target_at(running.enter_context(servers.gateway(gateway_settings(database)))),
            "raw ASGI hello": _webhook(running, "raw"),
            "FastAPI hello": _webhook(running, "hello"),
            "obvious webhook": _webhook(running, "obvious", database),
        }
        runs = {number: measure_in_turn(targets, plan, connections=number) for number in _CONNECTIONS}
        postgres = asyncio.run(rows_per_s(database))
    for number, measured in runs.items():
        show(f"callbacks, {number} connections", measured)
    flushes = _with_slow_flushes(plan)
    for number, measured in flushes.items():
        show(f"callbacks, {number} connections, flushes 2 ms longer, and not", measured)
    workers = _with_two_workers(plan)
    for number, measured in workers.items():
        show(f"callbacks, {number} connections, not pinned to a core", measured)
    _judge(runs, flushes, workers, postgres)


def gateway_settings(database: str) -> dict[str, str]:
    """List the settings of a gateway that takes the callbacks of `target_at`."""
    return {
        "GATEWAY_DATABASE_URL": database,
        "THINGSPACE_ACCOUNT": _ACCOUNT,
        "THINGSPACE_CALLBACK_TOKEN": _TOKEN,
    }


def target_at(url: str) -> Target:
    """Make callbacks for a gateway, each of another device and place."""
    position = {
        "time": TIME,
        "x": "42.09551",
        "y": f"-71.{DIGITS}",
        "radius": "35",
        "locationType": "1",
    }
    device = {"id": f"99000112000{DEVICE}", "kind": "IMEI", "mdn": f"508555{DEVICE}", "positionData": position}
    body = {
        "accountName": _ACCOUNT,
        "deviceList": [device],
        "reportType": "LOCATION_REPORT",
        "status": "SUCCESS",
        "transactionID": _TRANSACTION,
    }
    return Target(url=f"{url}/callbacks/thingspace/{_TOKEN}", body=json.dumps(body, separators=(",", ":")))


def _webhook(running: ExitStack, name: str, database: str = "") -> Target:
    env = {"OBVIOUS_DATABASE_URL": database}
    return target_at(running.enter_context(servers.application(f"benchmarks.webhooks:{name}", measured=True, env=env)))


def _with_slow_flushes(plan: Plan) -> dict[int, Runs]:
    """Measure with a database that waits two milliseconds before each flush, as a slower disk would, and without."""
    with servers.database(_SLOW_FLUSH) as slow, servers.database() as fast:
        for database in (slow, fast):
            asyncio.run(start_session(database))
        with servers.gateway(gateway_settings(slow)) as slow_url, servers.gateway(gateway_settings(fast)) as fast_url:
            targets = {"slow": target_at(slow_url), "fast": target_at(fast_url)}
            return {number: measure_in_turn(targets, plan, connections=number) for number in _CONNECTIONS}


def _with_two_workers(plan: Plan) -> dict[int, Runs]:
    with servers.database() as database:
        asyncio.run(start_session(database))
        with (
            servers.gateway(gateway_settings(database) | {"GATEWAY_WORKERS": "2"}, pinned=False) as two,
            servers.gateway(gateway_settings(database), pinned=False) as one,
        ):
            targets = {"two workers": target_at(two), "one worker": target_at(one)}
            return {number: measure_in_turn(targets, plan, connections=number) for number in _CONNECTIONS}


async def start_session(database: str) -> None:
    """Put the session into the database that the callbacks belong to."""
    connection = await asyncpg.connect(to_dsn(database))
    await connection.execute("TRUNCATE sessions CASCADE")
    await add_session(connection)
    await connection.execute("ANALYZE")
    await connection.close()


async def add_session(connection: Connection) -> None:
    """Add the session to what there is."""
    await connection.execute(_SESSION.replace("$1", f"'{_ACCOUNT}'").replace("$2", f"'{_TRANSACTION}'"))


async def rows_per_s(database: str) -> float:
    """Tell how many rows a second Postgres takes from one client that sends nothing but full batches."""
    connection = await asyncpg.connect(to_dsn(database))
    await connection.execute(PLAN_BY_INDEX)
    batches = [_batch(start) for start in range(0, _ROWS, _BATCH)]
    started = time.perf_counter()
    for batch in batches:
        await connection.fetchrow(store(has_reports=False, has_simple_fixes=True), batch)
    took_s = time.perf_counter() - started
    await connection.close()
    return _ROWS / took_s


def _batch(start: int) -> list[arguments.Row]:
    now_ms = time.time_ns() // 1_000_000
    body = target_at("").body.encode()
    rows = []
    for number in range(start, start + _BATCH):
        report = SimpleFix(
            content_key=b"rows %d" % number,
            account=AccountName(_ACCOUNT),
            transaction_id=TransactionId(_TRANSACTION),
            device_id=f"99000112000{number * 7 % 10000:04d}",
            device_kind="imei",
            mdn=Mdn(f"508555{number * 7 % 10000:04d}"),
            said_at_s=now_ms // 1000,
            latitude_deg=42.1,
            longitude_deg=-71.2,
            accuracy_m=35.0,
            source="network",
            cached=False,
            vendor_type="LOCATION_REPORT",
        )
        rows.append(
            to_simple_fix_row(
                report,
                body,
                provider="thingspace",
                service="DeviceLocation",
                signature="unchecked",
                received_ms=now_ms,
            )
        )
    return arguments.of_simple_fixes(rows)


def _judge(runs: dict[int, Runs], flushes: dict[int, Runs], workers: dict[int, Runs], postgres: float) -> None:
    gateway = runs[64]["gateway"]
    others = (*flushes.values(), *workers.values())
    failed = sum(run.failed for measured in others for each in measured.values() for run in each)
    for number, measured in runs.items():
        failed += sum(run.failed for run in measured["gateway"])
        for name, floor, goal in (
            ("raw ASGI hello", 0.40, 0.60),
            ("FastAPI hello", 1.3, 2.5),
            ("obvious webhook", 15, 25),
        ):
            reached = ratio(measured["gateway"], measured[name])
            Goal(f"{number}: callbacks ÷ {name}", floor=floor, goal=goal).judge(reached)
    for number, measured in flushes.items():
        reached = ratio(measured["slow"], measured["fast"])
        Goal(f"{number}: flushes 2 ms longer ÷ without", floor=0.70, goal=0.85).judge(reached)
    for number, measured in workers.items():
        reached = ratio(measured["two workers"], measured["one worker"])
        Goal(f"{number}: two workers ÷ one", floor=1.3, goal=1.6).judge(reached)
    Goal("p99 at 64 connections, ms", floor=30, goal=12, less=True).judge(
        statistics.median(run.p99_ms for run in gateway)
    )
    share = statistics.median(run.per_s for run in gateway) / postgres
    print(f"{'callbacks ÷ rows in full batches':32} {share:7.2f}   of {postgres:.0f} rows/s by one client")
    Goal("callbacks not acknowledged", floor=0, goal=0, less=True).judge(failed)
