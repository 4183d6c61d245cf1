"""One subscription for everything: callbacks a second with and without it, and events delivered to one receiver."""

import re
import time
from contextlib import ExitStack
from typing import Any

import httpx

from benchmarks import servers
from benchmarks.figures import Goal, ratio, show
from benchmarks.ingest import gateway_settings, target_at
from benchmarks.load import measure, measure_in_turn
from benchmarks.plan import Plan

_CONNECTIONS = 64
_BATCH = {"maxEvents": 100, "maxDelay": 1}
_PAUSE_S = 2
_EVENT = re.compile(rb'"specversion"')
_counted = [0]


async def receiver(scope: Any, receive: Any, send: Any) -> None:
    """Take deliveries and count their events; a GET answers with the count."""
    if scope["type"] != "http":
        return
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    _counted[0] += len(_EVENT.findall(b"".join(parts)))
    body = str(_counted[0]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def run(plan: Plan) -> None:
    """Measure, and print the figures beside the goals."""
    with ExitStack() as running:
        listening = running.enter_context(servers.application("benchmarks.deliveries:receiver", measured=False))
        urls = {}
        for name in ("with", "without"):
            database = running.enter_context(servers.database())
            allowed = gateway_settings(database) | {"GATEWAY_DELIVERY_ALLOW": "127.0.0.1"}
            urls[name] = running.enter_context(servers.gateway(allowed))
        client = running.enter_context(
            httpx.Client(headers={"Authorization": f"Bearer {servers.API_KEY}"}, timeout=60, trust_env=False)
        )
        made = client.post(
            f"{urls['with']}/subscriptions", json={"name": "all", "url": listening, "batch": _BATCH}
        ).json()
        began, counted = time.monotonic(), _count(client, listening)
        runs = measure_in_turn({name: target_at(url) for name, url in urls.items()}, plan, connections=_CONNECTIONS)
        during = (_count(client, listening) - counted) / (time.monotonic() - began)
        afterwards, cpu_s = _catch_up(client, urls["with"], made["id"], listening, plan)
    show("callbacks with and without a subscription for everything", runs)
    print(f"delivered while callbacks come: {during:.0f} events/s; afterwards {cpu_s * 1e6:.0f} us of CPU an event")
    Goal("callbacks, with / without", 0.7, 0.7).judge(ratio(runs["with"], runs["without"]))
    Goal("delivered, events/s", 2000, 2000).judge(afterwards)


def _count(client: httpx.Client, url: str) -> int:
    return int(client.get(url).text)


def _catch_up(client: httpx.Client, gateway: str, subscription: str, listening: str, plan: Plan) -> tuple[float, float]:
    """Measure how fast what came during a pause is delivered: events a second, and seconds of CPU an event."""
    path = f"{gateway}/subscriptions/{subscription}"
    client.patch(path, json={"state": "paused"})
    time.sleep(_PAUSE_S)
    measure(target_at(gateway), plan, connections=_CONNECTIONS, seconds=plan.seconds * 2)
    process, first = servers.process_at(gateway), _count(client, listening)
    began = process.cpu_times().user
    client.patch(path, json={"state": "active"})
    while _count(client, listening) == first:
        time.sleep(0.01)
    start, before = time.monotonic(), _count(client, listening)
    last, at = before, start
    while time.monotonic() - at < 1:
        time.sleep(0.05)
        if (now := _count(client, listening)) != last:
            last, at = now, time.monotonic()
    spent = process.cpu_times().user - began
    return (last - before) / (at - start), spent / (last - first)
