"""Told to stop, a gateway serves on for a while, and leaves nobody without an answer whose connection it took."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from gateways import KEY, any_port
from servers import Program, running
from vendors import CALLBACK_PATH, VARIABLES, message

Request = Callable[[int], tuple[str, bytes]]


def callback(number: int) -> tuple[str, bytes]:
    return f"POST {CALLBACK_PATH}", orjson.dumps(message(number))


def reading(_: int) -> tuple[str, bytes]:
    return "GET /providers", b""


class Client:
    """Asks as a load balancer does: over connections that it keeps as long as the answers let it."""

    def __init__(self, port: int, request: Request) -> None:
        self._port = port
        self._request = request
        self._number = 0
        self.answers: list[bytes] = []
        self.unanswered = 0

    async def ask_until_refused(self) -> None:
        """Ask again and again, until no connection is made any more."""
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except ConnectionRefusedError:
                return
            while await self._is_kept(reader, writer):
                pass
            writer.close()

    async def _is_kept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.005)
        line, body = self._request(self._number)
        self._number += 1
        head = f"{line} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError):
            self.unanswered += 1
            return False
        self.answers.append(answer)
        return b"connection: close" not in answer.lower()


@asynccontextmanager
async def serving_gateway(database_url: str, folder: Path, **variables: str) -> AsyncIterator[tuple[Program, int]]:
    port = any_port()
    own = {"GATEWAY_DATABASE_URL": database_url, "GATEWAY_API_KEY": KEY, "GATEWAY_PORT": str(port)}
    quiet = {"GATEWAY_LOG_LEVEL": "warning"}
    with running(["-m", "app", "serve"], environment=VARIABLES | own | quiet | variables, folder=folder) as program:
        await program.answers(f"http://127.0.0.1:{port}/readyz")
        yield program, port


async def with_clients(port: int, work: Coroutine[Any, Any, Any]) -> list[Client]:
    """Let clients ask until they are refused, while something else is done."""
    clients = [Client(port, request) for request in (callback, reading) for _ in range(8)]
    async with asyncio.timeout(60):
        await asyncio.gather(work, *(client.ask_until_refused() for client in clients))
    return clients


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_every_request_on_a_connection_that_was_made_is_answered(
    database_url: str, tmp_path: Path, workers: str
) -> None:
    variables = {"GATEWAY_DRAIN_SECONDS": "1", "GATEWAY_WORKERS": workers}
    async with serving_gateway(database_url, tmp_path, **variables) as (program, port):

        async def stop() -> None:
            await asyncio.sleep(0.3)
            os.kill(program.pid, signal.SIGTERM)

        clients = await with_clients(port, stop())
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
