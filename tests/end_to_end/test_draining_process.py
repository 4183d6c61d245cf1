"""Told to stop, a gateway serves on for a while, and leaves nobody without an answer whose connection it took."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from tests.support.gateways import AUTHORIZED, KEY, any_port
from tests.support.pooling import Client
from tests.support.servers import Program, running
from tests.support.vendors import CALLBACK_PATH, VARIABLES, message
from tests.support.waiting import until


def callback(number: int) -> tuple[str, bytes]:
    return f"POST {CALLBACK_PATH}", orjson.dumps(message(number))


def reading(_: int) -> tuple[str, bytes]:
    return "GET /providers", b""


def readiness(_: int) -> tuple[str, bytes]:
    return "GET /readyz", b""


@asynccontextmanager
async def serving_gateway(database_url: str, folder: Path, **variables: str) -> AsyncIterator[tuple[Program, int]]:
    port = any_port()
    own = {"GATEWAY_DATABASE_URL": database_url, "GATEWAY_API_KEY": KEY, "GATEWAY_PORT": str(port)}
    quiet = {"GATEWAY_LOG_LEVEL": "warning"}
    with running(["-m", "app", "serve"], environment=VARIABLES | own | quiet | variables, folder=folder) as program:
        await program.answers(f"http://127.0.0.1:{port}/readyz")
        yield program, port


async def test_workers_answer_every_request_on_a_connection_that_was_made(database_url: str, tmp_path: Path) -> None:
    variables = {"GATEWAY_DRAIN_SECONDS": "1", "GATEWAY_WORKERS": "2"}
    async with serving_gateway(database_url, tmp_path, **variables) as (program, port):

        async def stop() -> None:
            await until(lambda: all(client.answers for client in (balancer, *clients)))
            os.kill(program.pid, signal.SIGTERM)

        clients = [Client(port, request, headers=AUTHORIZED) for request in (callback, reading) for _ in range(8)]
        balancer = Client(port, readiness)
        async with asyncio.timeout(60):
            await asyncio.gather(stop(), *(client.ask_until_refused() for client in (balancer, *clients)))
        code = await asyncio.to_thread(program.process.wait, 30)

    assert sum(client.unanswered for client in (balancer, *clients)) == 0
    assert [balancer.answers[0][9:12], balancer.answers[-1][9:12]] == [b"200", b"503"]
    assert {answer[9:12] for client in clients for answer in client.answers} == {b"200"}
    assert any(b"connection: close" in answer.lower() for client in clients for answer in client.answers)
    assert code in (0, -signal.SIGTERM)
