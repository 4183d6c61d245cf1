"""Readers that follow events while callbacks come in: what they cost, and how late and complete their events are."""

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks import servers
from benchmarks.event_proof import misread
from benchmarks.event_readers import Reading
from benchmarks.figures import Goal
from benchmarks.ingest import gateway_settings, start_session, target_at
from benchmarks.load import Measured, measure_paced
from benchmarks.plan import Plan, on_the_other_cores

_READERS = 200
_PER_S = 2_000
_CONNECTIONS = 64
_CALLBACKS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement of callbacks, with readers or without."""

    callbacks: Measured
    reading: Reading | None = None
    stored: int = 0


def run(plan: Plan) -> None:
    """Measure, and print the figures beside the goals."""
    with ExitStack() as running:
        database = running.enter_context(servers.database())
        asyncio.run(start_session(database))
        url = running.enter_context(servers.gateway(gateway_settings(database), pinned=False))
        measure_paced(target_at(url), connections=_CONNECTIONS, per_s=_PER_S, seconds=2)
        without, beside = [], []
        with servers.gateway(gateway_settings(database), pinned=False) as other:
            urls = [url, other]
            missed, repeated = asyncio.run(misread(urls, [target_at(each) for each in urls], database, _CALLBACKS))
        for _ in range(plan.rounds):
            without.append(_round(url, plan, readers=0))
            beside.append(_round(url, plan, readers=_READERS))
    print(f"{_CALLBACKS:,} callbacks by eight writers, long transactions, twelve readers that break off, two gateways:")
    Goal("events missed", floor=0, goal=0, less=True).judge(missed)
    Goal("events read twice", floor=0, goal=0, less=True).judge(repeated)
    _judge(without, beside)


def _round(url: str, plan: Plan, *, readers: int) -> Round:
    before = _stored(url)
    if not readers:
        return Round(callbacks=_post(url, plan))
    with _reading(url, readers, plan.seconds) as figures:
        callbacks = _post(url, plan)
        reading = Reading(**json.loads(figures.readline()))
    return Round(callbacks=callbacks, reading=reading, stored=_stored(url) - before)


def _post(url: str, plan: Plan) -> Measured:
    return measure_paced(target_at(url), connections=_CONNECTIONS, per_s=_PER_S, seconds=plan.seconds)


@contextmanager
def _reading(url: str, readers: int, seconds: int) -> Iterator[Any]:
    task = {"url": url, "key": servers.API_KEY, "readers": readers - 1, "stuck": 1, "seconds": seconds}
    command = [sys.executable, "-m", "benchmarks.event_readers"]
    with (
        on_the_other_cores(),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "connected\n"
        yield process.stdout


def _stored(url: str) -> int:
    """Count the reports that were stored so far, by the gateway's own metrics."""
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {servers.API_KEY}"})
    lines = [line for line in answer.text.splitlines() if line.startswith("gateway_reports_stored_total")]
    return round(float(lines[0].split()[1])) if lines else 0


def _judge(without: list[Round], beside: list[Round]) -> None:
    rates = [one.callbacks.per_s for one in beside]
    readings = [one.reading for one in beside if one.reading is not None]
    print(f"callbacks/s without readers {[round(one.callbacks.per_s) for one in without]}, beside {_READERS} readers")
    print(f"of which one is stuck {[round(rate) for rate in rates]}; p99 of callbacks, ms:")
    print([round(one.callbacks.p99_ms) for one in without], [round(one.callbacks.p99_ms) for one in beside])
    pairs = zip(beside, without, strict=True)
    reached = statistics.median(one.callbacks.per_s / other.callbacks.per_s for one, other in pairs)
    Goal("callbacks: readers ÷ none", floor=0.8, goal=0.95).judge(reached)
    Goal("to the reader, p50 ms", floor=50, goal=30, less=True).judge(statistics.median(one.p50_ms for one in readings))
    Goal("to the reader, p99 ms", floor=250, goal=100, less=True).judge(
        statistics.median(one.p99_ms for one in readings)
    )
    missed = sum(one.stored - one.reading.events[0] for one in beside if one.reading is not None)
    repeated = sum(one.reading.events[1] - one.stored for one in beside if one.reading is not None)
    Goal("events missed by a reader", floor=0, goal=0, less=True).judge(max(0, missed))
    Goal("events repeated to a reader", floor=0, goal=0, less=True).judge(max(0, repeated))
    Goal("callbacks not acknowledged", floor=0, goal=0, less=True).judge(
        sum(one.callbacks.failed for one in (*without, *beside))
    )
