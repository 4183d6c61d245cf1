"""Asked to end, the gateway finishes what it has accepted, and loses nothing of it."""

import asyncio
import os
import signal
from pathlib import Path

import orjson
from sqlalchemy import text
from starlette.types import Receive, Scope, Send

from app.storage.database import Database
from tests.support.gateways import KEY
from tests.support.servers import answer_lifespan, running, serving
from tests.support.vendors import CALLBACK_PATH, VARIABLES, WIFI, message, solved

CALLBACKS, QUESTIONS = 100, 50


class HeldVendor:
    """A CloudLocate that answers when it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        while (await receive()).get("more_body"):
            pass
        self.asked.release()
        await self.released.wait()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": solved().content})


def question(number: int) -> bytes:
    body = orjson.dumps({"device": {"name": f"n{number}"}, "measurements": WIFI})
    return _request("/locate", body, f"Authorization: Bearer {KEY}\r\n")


def callback(number: int) -> bytes:
    return _request(CALLBACK_PATH, orjson.dumps(message(number)), "")


def _request(path: str, body: bytes, headers: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def sent(port: int, request: bytes) -> Connection:
    """Send a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    return reader, writer


async def status(connection: Connection) -> bytes:
    reader, writer = connection
    line = await reader.readline()
    writer.close()
    return line[9:12]


async def test_what_was_accepted_before_sigterm_is_answered_and_stored(
    database_url: str, database: Database, free_port: int, tmp_path: Path
) -> None:
    vendor = HeldVendor()
    async with serving(vendor) as vendor_url:
        variables = VARIABLES | {
            "GATEWAY_DATABASE_URL": database_url,
            "GATEWAY_API_KEY": KEY,
            "GATEWAY_PORT": str(free_port),
            "CLOUDLOCATE_URL": vendor_url,
        }
        with running(["-m", "app", "serve"], environment=variables, folder=tmp_path) as program:
            await program.answers(f"http://127.0.0.1:{free_port}/readyz")
            questions = [await sent(free_port, question(number)) for number in range(QUESTIONS)]
            for _ in range(QUESTIONS):
                await vendor.asked.acquire()
            # While the table is locked no callback can be committed.
            blocker = await database.connect()
            locking = blocker.transaction()
            await locking.start()
            await blocker.execute("LOCK TABLE callbacks IN ACCESS EXCLUSIVE MODE")
            callbacks = [await sent(free_port, callback(number)) for number in range(CALLBACKS)]
            for _ in range(3):
                await program.answers(f"http://127.0.0.1:{free_port}/healthz")

            os.kill(program.pid, signal.SIGTERM)
            vendor.released.set()
            await locking.rollback()
            await blocker.close()
            statuses = [await status(connection) for connection in (*questions, *callbacks)]
            code = await asyncio.to_thread(program.process.wait, 60)

    async with database.transaction() as session:
        stored = await session.scalar(text("SELECT count(*) FROM callbacks"))
        located = await session.scalar(text("SELECT count(*) FROM reports WHERE provider = 'cloudlocate'"))
    assert set(statuses) == {b"200"}
    assert (stored, located) == (CALLBACKS, QUESTIONS)
    assert code in (0, -signal.SIGTERM)
