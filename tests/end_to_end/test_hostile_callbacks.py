"""One callback, however it is made, keeps nobody else waiting: asked of a real server while it handles the worst."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateways import AUTHORIZED, KEY, any_port
from tests.support.servers import Program, running
from tests.support.vendors import ACCOUNT, CALLBACK_PATH, TOKEN, message
from tests.support.waiting import until

MEBIBYTE = 1024 * 1024
PATIENCE_S = 3.0
"""How long others may have to wait; a callback that is handled in the wrong way keeps them waiting for minutes."""


def _listing(count: int, device: Callable[[int], Any], **members: Any) -> bytes:
    return json.dumps(message(deviceList=[device(number) for number in range(count)], **members)).encode()


BODIES: dict[str, tuple[int, str, bytes]] = {
    "more devices than any message lists": (200, "quarantined", _listing(115_000, lambda number: str(number % 10))),
    "devices as texts": (200, "stored", _listing(40_000, str)),
    "positions without a time": (
        200,
        "stored",
        _listing(10_000, lambda number: {"mdn": f"{number:010}", "positionData": {"x": "1", "y": "2"}}),
    ),
    "consent of devices": (
        200,
        "stored",
        _listing(10_000, lambda number: {"id": f"{number:015}", "kind": "IMEI"}, reportType="CONSENT_RESPONSE"),
    ),
    "a long account beside many devices": (
        200,
        "stored",
        _listing(
            5_000,
            lambda number: {"id": f"{number:015}", "error": {"time": "20240517143006", "type": "x"}},
            accountName="a" * (MEBIBYTE // 2),
        ),
    ),
    "nested deeply": (200, "quarantined", b'{"a":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "many members": (200, "stored", json.dumps({f"k{number}": number for number in range(60_000)}).encode()),
    "numbers of many digits": (200, "stored", b'{"a":' + b"7" * 500_000 + b',"b":0.' + b"7" * 500_000 + b"}"),
    "credentials that do not end": (400, "quarantined", b'{"a":[' + b'"password":' * 90_000),
    "a text that does not end": (400, "quarantined", b'{"password":"' + b'\\"' * 500_000),
}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Program, str]]:
    """Run a gateway with a database of its own; return it and its address."""
    port = any_port()
    environment = {
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_PORT": str(port),
        "GATEWAY_LOG_LEVEL": "warning",
        "THINGSPACE_ACCOUNT": ACCOUNT,
        "THINGSPACE_CALLBACK_TOKEN": TOKEN,
    }
    with running(["-m", "app", "serve"], environment=environment, folder=folder) as program:
        url = f"http://127.0.0.1:{port}"
        asyncio.run(program.answers(f"{url}/readyz"))
        yield program, url


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, str]]:
    with serving(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def gateway_to_end(tmp_path: Path) -> Iterator[tuple[Program, str]]:
    with serving(tmp_path) as gateway:
        yield gateway


@pytest.mark.parametrize(("status", "state", "body"), BODIES.values(), ids=BODIES.keys())
async def test_others_are_answered_while_a_callback_is_handled(
    gateway: tuple[Program, str], status: int, state: str, body: bytes
) -> None:
    async with httpx.AsyncClient(base_url=gateway[1], headers=AUTHORIZED, timeout=60, trust_env=False) as client:
        handled = asyncio.create_task(client.post(CALLBACK_PATH, content=body))
        longest_s = await longest_wait(client, handled)
        [latest] = (await client.get("/callbacks", params={"limit": 1})).json()["callbacks"]

    assert (handled.result().status_code, latest["state"], longest_s < PATIENCE_S) == (status, state, True)


async def test_a_flood_of_refused_callbacks_leaves_a_few_lines_and_a_count(gateway: tuple[Program, str]) -> None:
    program, url = gateway
    count = 500
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        answers = [await client.post(f"{CALLBACK_PATH}-{number}", content=b"{}") for number in range(count)]
    assert {answer.status_code for answer in answers} == {404}

    await until(lambda: sum(lines_about_unknown_addresses(program)) == count)
    assert len(lines_about_unknown_addresses(program)) < count / 2


def lines_about_unknown_addresses(program: Program) -> list[int]:
    """For each line of the log about such callbacks, how many callbacks it is about."""
    lines = [json.loads(line) for line in program.output().splitlines() if '"code":"NOT_FOUND"' in line]
    return [line.get("count", 1) for line in lines]


async def test_a_gateway_that_handles_the_worst_ends_when_it_is_asked_to(
    gateway_to_end: tuple[Program, str],
) -> None:
    program, url = gateway_to_end
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        handled = asyncio.create_task(client.post(CALLBACK_PATH, content=BODIES["devices as texts"][2]))
        await asyncio.sleep(0.5)
        exit_code = await asyncio.to_thread(program.terminate)

        assert ((await handled).status_code, exit_code) == (200, 0)


async def longest_wait(client: httpx.AsyncClient, handled: "asyncio.Task[httpx.Response]") -> float:
    """Ask whether the process is up until a callback is answered; return the longest time that took, in seconds."""
    longest_s = 0.0
    while not handled.done():
        started = time.perf_counter()
        await client.get("/healthz")
        longest_s = max(longest_s, time.perf_counter() - started)
        await asyncio.sleep(0.01)
    return longest_s
