"""One subscription for everything: callbacks a second with and without it, and events delivered to one receiver."""

import re
import statistics
import time
from contextlib import ExitStack
from typing import Any

import httpx

from benchmarks import servers
from benchmarks.figures import Goal, ratio, show
from benchmarks.ingest import gateway_settings, target_at
from benchmarks.load import measure_in_turn
from benchmarks.plan import Plan

_CONNECTIONS = 64
_BATCH = {"maxEvents": 100, "maxDelay": 1}
_CATCH_UP_S = 20
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
        afterwards = _catch_up(client, listening)
        print(client.get(f"{urls['with']}/subscriptions/{made['id']}").json())
    show("callbacks with and without a subscription for everything", runs)
    print(f"delivered while callbacks come: {during:.0f} events/s; afterwards: {afterwards:.0f} events/s")
    Goal("callbacks, with / without", 0.7, 0.7).judge(ratio(runs["with"], runs["without"]))
    Goal("delivered, events/s", 2000, 2000).judge(statistics.fmean([afterwards]))


def _count(client: httpx.Client, url: str) -> int:
    return int(client.get(url).text)


def _catch_up(client: httpx.Client, url: str) -> float:
    """Measure how fast what is behind is delivered, once no callbacks come any more."""
    began, first = time.monotonic(), _count(client, url)
    last, at = first, began
    while time.monotonic() - began < _CATCH_UP_S:
        time.sleep(0.2)
        now = _count(client, url)
        if now == last:
            break
        last, at = now, time.monotonic()
    return (last - first) / (at - began) if at > began else 0.0
