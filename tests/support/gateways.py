"""Gateways for tests, asked as callers ask them: over ASGI, inside their lifespan."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from queue import SimpleQueue
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from app.settings import Settings
from app.simulator.options import Options

KEY = "key-of-the-tests"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


def settings(database_url: str, **changes: Any) -> Settings:
    """Make settings for a gateway on a test's database."""
    return Settings(
        **{"database_url": database_url, "api_key": KEY, "log_level": "error", "late_answer_seconds": 0, **changes}
    )


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run an application, and give a client that holds its key."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://gateway", headers=AUTHORIZED, timeout=60
        ) as client,
    ):
        yield client


@contextmanager
def in_background(serve: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Serve from an event loop in a thread of its own, for tests that ask in a blocking way."""
    urls: SimpleQueue[tuple[str, Callable[[], Any]]] = SimpleQueue()

    async def run() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with serve() as url:
            urls.put((url, lambda: loop.call_soon_threadsafe(done.set)))
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    url, stop = urls.get(timeout=60)
    try:
        yield url
    finally:
        stop()
        thread.join()


async def emptied(app: FastAPI) -> None:
    """Forget the reports, events, callbacks, listeners and sessions of a running gateway; tokens stay."""
    storage = app.state.storage
    await storage.database.pending.settled()
    storage.writer.forget_aliases()
    async with storage.database.transaction() as session:
        for table in (
            "reports",
            "events",
            "undated_reports",
            "positions",
            "account_aliases",
            "devices",
            "callbacks",
            "listeners",
            "sessions",
        ):
            await session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 -- the names stand above


def any_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def simulator_variables(base: str = "http://localhost") -> dict[str, str]:
    """List the providers' settings for a simulator at an address."""
    return Options().gateway_settings(base, base)
