"""`POST /locate`: the gateway beside a hello, the obvious handler, nginx, and the vendor asked directly."""

import json
import statistics
import urllib.request
from contextlib import ExitStack

from benchmarks import servers
from benchmarks.figures import Goal, ratio, show
from benchmarks.load import NUMBER, Runs, Target, measure, measure_in_turn
from benchmarks.plan import Plan

_CONNECTIONS = 32
_CALLERS = 400
_SLOW_S = 0.5
_QUESTION = json.dumps(
    {
        "measurements": {
            "wifiAccessPoints": [
                {"macAddress": f"3c3786{NUMBER}", "signalStrength": -58},
                {"macAddress": "3c:37:86:10:22:9b", "signalStrength": -64},
                {"macAddress": "3c:37:86:10:22:9c", "signalStrength": -71},
            ]
        }
    }
)
_JSON = ("Content-Type", "application/json")


def run(plan: Plan) -> None:
    """Measure, and print the figures beside the goals."""
    with ExitStack() as running:
        vendor = running.enter_context(servers.application("vendor", measured=False))
        targets = _start(running, vendor)
        fast = measure_in_turn(targets, plan, connections=_CONNECTIONS)
        lone = measure_in_turn(targets, plan, connections=1)
        _delay(vendor, _SLOW_S)
        callers = {name: targets[name] for name in ("gateway", "obvious")}
        # Two seconds pass until the answers to 400 callers no longer come in waves.
        slow = {name: [measure(target, plan, connections=_CALLERS, seconds=8)] for name, target in callers.items()}
    show("fast vendor, 32 connections", fast)
    show("fast vendor, one connection", lone)
    show(f"vendor that takes {_SLOW_S} s, {_CALLERS} callers", slow)
    _judge(fast, lone, slow)


def _start(running: ExitStack, vendor: str) -> dict[str, Target]:
    hello = running.enter_context(servers.application("hello", measured=True))
    obvious = running.enter_context(servers.application("obvious", measured=True))
    nginx = running.enter_context(servers.nginx(vendor))
    database = running.enter_context(servers.database())
    gateway = running.enter_context(
        servers.gateway(
            {
                "GATEWAY_DATABASE_URL": database,
                "CLOUDLOCATE_URL": f"{vendor}/position",
                "CLOUDLOCATE_USERNAME": "user",
                "CLOUDLOCATE_PASSWORD": "password",
            }
        )
    )
    key = ("Authorization", f"Bearer {servers.API_KEY}")
    targets = {
        "gateway": Target(url=f"{gateway}/locate", body=_QUESTION, headers=(_JSON, key)),
        "hello": Target(url=f"{hello}/locate", body=_QUESTION),
        "obvious": Target(url=f"{obvious}/locate", body=_QUESTION, headers=(_JSON, ("X-Vendor", f"{vendor}/position"))),
        "vendor": Target(url=f"{vendor}/position", body=_QUESTION),
    }
    if nginx is None:
        print("nginx is not installed: the comparison with it is left out; Debian's package `nginx-light` is enough")
    else:
        targets["nginx"] = Target(url=f"{nginx}/position", body=_QUESTION)
    return targets


def _delay(vendor: str, seconds: float) -> None:
    with urllib.request.urlopen(f"{vendor}/delay", data=str(seconds).encode()) as answer:
        answer.read()


def _judge(fast: Runs, lone: Runs, slow: Runs) -> None:
    def p50_ms(name: str) -> float:
        return statistics.median(run.p50_ms for run in lone[name])

    ideal = _CALLERS / _SLOW_S
    slow_rate = statistics.median(run.per_s for run in slow["gateway"])
    failed = sum(run.failed for runs in (fast, lone, slow) for run in runs["gateway"])
    Goal("gateway ÷ FastAPI hello", floor=0.18, goal=0.25).judge(ratio(fast["gateway"], fast["hello"]))
    Goal("gateway ÷ obvious handler", floor=2.2, goal=3).judge(ratio(fast["gateway"], fast["obvious"]))
    Goal("slow vendor: gateway ÷ ideal", floor=0.55, goal=0.75).judge(slow_rate / ideal)
    if "nginx" in lone:
        Goal("lone call: ms over nginx", floor=1.2, goal=0.8, less=True).judge(p50_ms("gateway") - p50_ms("nginx"))
    Goal("failed calls of the gateway", floor=0, goal=0, less=True).judge(failed)
