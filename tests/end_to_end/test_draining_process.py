"""Told to stop, a gateway serves on for a while, and leaves nobody without an answer whose connection it took."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import orjson
from gateways import AUTHORIZED, KEY, any_port
from pooling import Client
from servers import Program, running
from vendors import CALLBACK_PATH, VARIABLES, message


def callback(number: int) -> tuple[str, bytes]:
    return f"POST {CALLBACK_PATH}", orjson.dumps(message(number))


def reading(_: int) -> tuple[str, bytes]:
    return "GET /providers", b""


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
            await asyncio.sleep(0.3)
            os.kill(program.pid, signal.SIGTERM)

        clients = [Client(port, request, headers=AUTHORIZED) for request in (callback, reading) for _ in range(8)]
        async with asyncio.timeout(60):
            await asyncio.gather(stop(), *(client.ask_until_refused() for client in clients))
        code = await asyncio.to_thread(program.process.wait, 30)

    assert sum(client.unanswered for client in clients) == 0
    assert {answer[9:12] for client in clients for answer in client.answers} == {b"200"}
    assert any(b"connection: close" in answer.lower() for client in clients for answer in client.answers)
    assert code in (0, -signal.SIGTERM)


async def test_while_it_drains_it_is_not_ready_and_serves_all_the_same(database_url: str, tmp_path: Path) -> None:
    async with (
        serving_gateway(database_url, tmp_path, GATEWAY_DRAIN_SECONDS="60") as (program, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        os.kill(program.pid, signal.SIGTERM)
        await program.answers(f"http://127.0.0.1:{port}/readyz", status=503)
        healthy = await client.get("/healthz")
        stored = await client.post(CALLBACK_PATH, json=message())
        refused = await client.get("/readyz")
        # Who cannot wait says so again.
        code = await asyncio.to_thread(program.terminate)

    assert (healthy.status_code, stored.status_code) == (200, 200)
    assert healthy.headers["connection"] == stored.headers["connection"] == "close"
    assert refused.json()["code"] == "UNAVAILABLE"
    assert code in (0, -signal.SIGTERM)
