"""A receiver that fails, stops and comes back, while gateways are killed: every event arrives, in order per device."""

import asyncio
import json
import random
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.support.event_receivers import OK, Answer, EventReceiver
from tests.support.gateways import KEY, any_port
from tests.support.servers import Program, running
from tests.support.vendors import CALLBACK_PATH, VARIABLES, message
from tests.support.waiting import until

Json = dict[str, Any]
DEVICES = 12
EVENTS = 72


class Moody:
    """Fails at a part of the events, each once: with one of several answers."""

    def __init__(self) -> None:
        self._dice = random.Random(13)  # noqa: S311 -- the same faults in every run
        self._seen: set[str] = set()

    def __call__(self, events: list[Json]) -> Answer:
        event = events[0]["id"]
        if event in self._seen or self._dice.random() > 0.1:
            return OK
        self._seen.add(event)
        return self._dice.choice([(500, {}), (429, {"Retry-After": "1"}), (503, {}), (301, {"Location": "/"})])


async def test_every_event_arrives_in_order_whatever_is_killed(database_url: str, tmp_path: Path) -> None:
    ports = [any_port(), any_port()]
    receiver = EventReceiver(answer=Moody())
    with ExitStack() as processes:
        first = _start(processes, ports[0], database_url, tmp_path)
        async with AsyncExitStack() as stack:
            listening = await stack.enter_async_context(AsyncExitStack())
            await listening.enter_async_context(receiver.listening())
            await first.answers(f"http://127.0.0.1:{ports[0]}/readyz")
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False))
            made = await _subscribe(client, ports[0], receiver)
            receiver.secrets = [made["secret"]]
            # The first one leads, because there is no other yet.
            await _report(client, ports[0], range(DEVICES))
            await until(lambda: receiver.taken)
            second = _start(processes, ports[1], database_url, tmp_path)
            await second.answers(f"http://127.0.0.1:{ports[1]}/readyz")

            sending = asyncio.create_task(_report(client, ports[1], range(DEVICES, EVENTS)))
            await until(lambda: len(receiver.taken) > EVENTS // 4)
            first.kill()
            await sending
            await listening.aclose()
            await asyncio.sleep(0.5)
            await stack.enter_async_context(receiver.listening())
            await until(lambda: len(receiver.event_ids) == EVENTS)

        assert receiver.wrong == []
        by_device: dict[str, list[str]] = {}
        for one in receiver.taken:
            for event in one.events:
                known = by_device.setdefault(event["data"]["device"]["imei"], [])
                stamp = event["data"]["location"]["timestamp"]
                if stamp not in known:
                    known.append(stamp)
        assert len(by_device) == DEVICES
        assert all(stamps == sorted(stamps) and len(stamps) == EVENTS // DEVICES for stamps in by_device.values())
        assert all(one.headers["webhook-id"] == one.events[0]["id"] for one in receiver.received)


def _start(processes: ExitStack, port: int, database_url: str, folder: Path) -> Program:
    variables = {
        **VARIABLES,
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_DELIVERY_ALLOW": "127.0.0.1",
        "GATEWAY_LOG_LEVEL": "error",
        "GATEWAY_PORT": str(port),
    }
    return processes.enter_context(running(["-m", "app", "serve"], environment=variables, folder=folder))


async def _subscribe(client: httpx.AsyncClient, port: int, receiver: EventReceiver) -> Json:
    made = await client.post(
        f"http://127.0.0.1:{port}/subscriptions",
        json={"name": "all", "url": receiver.url},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert made.status_code == 201, made.text
    return made.json()  # type: ignore[no-any-return]  # JSON


async def _report(client: httpx.AsyncClient, port: int, numbers: range) -> None:
    """Let each device report a fix after the other; devices report at the same time."""
    for first in range(numbers.start, numbers.stop, DEVICES):
        await asyncio.gather(*(_post(client, port, number) for number in range(first, first + DEVICES)))


async def _post(client: httpx.AsyncClient, port: int, number: int) -> None:
    [device] = message(number)["deviceList"]
    which = number % DEVICES
    known = {"id": f"99000112345{which:04d}", "mdn": f"508555{which:04d}"}
    body = json.dumps(message(deviceList=[device | known]))
    answer = await client.post(f"http://127.0.0.1:{port}{CALLBACK_PATH}", content=body)
    assert answer.status_code == 200, answer.text
