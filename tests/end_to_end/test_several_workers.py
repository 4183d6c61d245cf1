"""One server with several processes: whichever is asked speaks for all."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.gateways import AUTHORIZED, KEY, any_port
from tests.support.servers import running

QUEUE_BOUND = re.compile(r"^gateway_commit_queue_bound ([\d.]+)$", re.MULTILINE)


@pytest.fixture
async def url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    port = any_port()
    environment = {
        "GATEWAY_DATABASE_URL": database_url,
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_WORKERS": "2",
        "GATEWAY_LOG_LEVEL": "error",
    }
    with running(["-m", "app", "serve", "--port", str(port)], environment=environment, folder=tmp_path) as program:
        await program.answers(f"http://127.0.0.1:{port}/readyz")
        yield f"http://127.0.0.1:{port}"


async def lone(url: str, path: str) -> httpx.Response:
    """Ask on a connection of its own, so that any of the processes may answer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url + path, headers=AUTHORIZED)


async def both_have_started(url: str) -> None:
    async with asyncio.timeout(60):
        while QUEUE_BOUND.findall((await lone(url, "/metrics")).text) != ["40000.0"]:  # noqa: ASYNC110 -- no event of ours
            await asyncio.sleep(0.05)


async def test_the_metrics_are_those_of_all_processes(url: str) -> None:
    await both_have_started(url)
    await asyncio.gather(*(lone(url, "/providers") for _ in range(40)))

    told = [(await lone(url, "/metrics")).text for _ in range(6)]

    requests = re.compile(r'^gateway_requests_total{.*route="/providers".*} ([\d.]+)$', re.MULTILINE)
    assert [requests.findall(text) for text in told] == [["40.0"]] * 6
    assert [QUEUE_BOUND.findall(text) for text in told] == [["40000.0"]] * 6
