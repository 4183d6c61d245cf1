"""Makes load and measures it: with wrk where it is installed, else with a small generator of our own.

Each request carries a number of its own, because the gateway answers identical questions with one vendor call.
"""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httptools

from benchmarks.plan import Plan, on_the_other_cores

NUMBER = "@@@@@@"
"""Stands in a body where six hexadecimal digits are to differ from request to request."""
DIGITS = "######"
"""Stands in a body where six decimal digits are to differ from request to request."""
DEVICE = "&&&&"
"""Stands in a body where four decimal digits are to go through all devices in turn."""
TIME = "%%%%%%%%%%%%%%"
"""Stands in a body where a time is to be a second later each time all devices had their turn."""
_DEVICES = 10_000
_FILLED = {NUMBER: "@", DIGITS: "#", DEVICE: "&", TIME: "%"}

_TIMEOUT_S = 10
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_LUA = """
local pieces = {%s}
local head = "%s"
local number = 0
local start = os.time()
local day, now = nil, nil
local fill = {
  ["@"] = function() return string.format("%%06x", number) end,
  ["#"] = function() return string.format("%%06d", number %% 1000000) end,
  ["&"] = function() return string.format("%%04d", number * 7 %% 10000) end,
  ["%%"] = function()
    local second = start + math.floor(number / 10000)
    if second ~= day then day, now = second, os.date("!%%Y%%m%%d%%H%%M%%S", second) end
    return now
  end,
}
request = function()
  number = (number + 1) %% 16777216
  local text = {head}
  for place, piece in ipairs(pieces) do
    local filled = fill[piece]
    text[place + 1] = filled and filled() or piece
  end
  return table.concat(text)
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to post what."""

    url: str
    body: str
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of it.

    Attributes:
        per_s: Answered requests per second.
        failed: Requests that were refused, broke, timed out, or were not answered with 2xx.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


Runs = dict[str, list[Measured]]
"""What came of each round, by the name of the target."""


def measure(target: Target, plan: Plan, *, connections: int, seconds: int | None = None) -> Measured:
    """Post without pause over so many connections."""
    seconds = seconds or plan.seconds
    with on_the_other_cores():
        if plan.wrk:
            return _with_wrk(plan.wrk, target, connections, seconds)
        task = json.dumps(asdict(target) | {"connections": connections, "seconds": seconds})
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"], input=task, capture_output=True, text=True, check=True
        )
        return Measured(**json.loads(done.stdout))


def measure_in_turn(targets: dict[str, Target], plan: Plan, *, connections: int) -> Runs:
    """Post to one target after the other, round by round; a second to each before that, to warm up."""
    for target in targets.values():
        measure(target, plan, connections=connections, seconds=1)
    runs: Runs = {name: [] for name in targets}
    for _ in range(plan.rounds):
        for name, target in targets.items():
            runs[name].append(measure(target, plan, connections=connections))
    return runs


def measure_paced(target: Target, *, connections: int, per_s: float, seconds: int) -> Measured:
    """Post at a steady rate, or as fast as answers come where these are slower."""
    task = json.dumps(asdict(target) | {"connections": connections, "seconds": seconds, "per_s": per_s})
    with on_the_other_cores():
        command = [sys.executable, "-m", "benchmarks.load"]
        done = subprocess.run(command, input=task, capture_output=True, text=True, check=True)
    return Measured(**json.loads(done.stdout))


def _with_wrk(wrk: str, target: Target, connections: int, seconds: int) -> Measured:
    pieces = [piece for piece in re.split(f"({NUMBER}|{DIGITS}|{DEVICE}|{TIME})", target.body) if piece]
    # All that differs keeps its length, so that the head is the same for all.
    script_text = _LUA % (
        ", ".join(json.dumps(_FILLED.get(piece, piece)) for piece in pieces),
        json.dumps(_head(target, len(target.body)))[1:-1],
    )
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(script_text)
        done = subprocess.run(
            [
                wrk,
                "-t1",
                f"-c{connections}",
                f"-d{seconds}s",
                "--latency",
                f"--timeout={_TIMEOUT_S}s",
                f"-s{script}",
                target.url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    return _read(done.stdout)


def _head(target: Target, length: int) -> str:
    address = urlsplit(target.url)
    lines = [f"POST {address.path or '/'} HTTP/1.1", f"Host: {address.netloc}"]
    lines += [f"{name}: {value}" for name, value in target.headers]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""])


def _read(text: str) -> Measured:
    def latency_ms(percent: int) -> float:
        found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", text)
        return float(found[1]) * _MS[found[2]] if found else float("nan")

    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: (.*)", text)
    failed = int(refused[1]) if refused else 0
    failed += sum(map(int, re.findall(r"\d+", broken[1]))) if broken else 0
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return Measured(per_s=float(rate[1]) if rate else 0, p50_ms=latency_ms(50), p99_ms=latency_ms(99), failed=failed)


class _Poster(asyncio.Protocol):
    """One connection that posts, waits for the answer, and posts again."""

    numbers = iter(range(sys.maxsize))
    _started_at = int(time.time())

    def __init__(self, head: str, body: str, until: float, took_ms: list[float], every_s: float) -> None:
        self.failed = 0
        self._every_s = every_s
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head, self._body, self._until, self._took_ms = head, body, until, took_ms

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._post()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self._took_ms.append((now - self._since) * 1000)
        self.failed += self._parser.get_status_code() // 100 != 2
        if now < self._until:
            rest_s = self._since + self._every_s - now
            if rest_s > 0:
                asyncio.get_running_loop().call_later(rest_s, self._post)
            else:
                self._post()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self.failed += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def _post(self) -> None:
        number = next(self.numbers)
        body = self._body.replace(NUMBER, f"{number % 0x1000000:06x}").replace(DIGITS, f"{number % 1000000:06d}")
        body = body.replace(DEVICE, f"{number * 7 % _DEVICES:04d}")
        body = body.replace(TIME, time.strftime("%Y%m%d%H%M%S", time.gmtime(self._started_at + number // _DEVICES)))
        self._since = time.perf_counter()
        self._transport.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


async def _with_our_own(target: Target, connections: int, seconds: int, per_s: float | None = None) -> Measured:
    address = urlsplit(target.url)
    head = f"POST {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in target.headers)
    took_ms: list[float] = []
    every_s = connections / per_s if per_s else 0.0
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    place = address.hostname or "127.0.0.1", address.port or 80
    made = [
        loop.create_connection(lambda: _Poster(head, target.body, until, took_ms, every_s), *place)
        for _ in range(connections)
    ]
    posters = [poster for _, poster in await asyncio.gather(*made)]
    _, late = await asyncio.wait([poster.ended for poster in posters], timeout=seconds + _TIMEOUT_S)
    ranks = statistics.quantiles(took_ms, n=100) if len(took_ms) > 1 else [float("nan")] * 99
    failed = len(late) + sum(poster.failed for poster in posters)
    return Measured(per_s=len(took_ms) / seconds, p50_ms=ranks[49], p99_ms=ranks[98], failed=failed)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    amount = {name: given.pop(name) for name in ("connections", "seconds", "per_s") if name in given}
    given["headers"] = tuple(map(tuple, given["headers"]))
    print(json.dumps(asdict(asyncio.run(_with_our_own(Target(**given), **amount)))))
