"""HTTP byte by byte, for what client libraries never send."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from tests.support.vendors import CALLBACK_PATH

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came over the connection; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


def place_of(url: str) -> Place:
    """Read host and port from a base URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def request(
    body: Any = b"", *lines: str, method: str = "POST", path: str = CALLBACK_PATH, version: str = "1.1"
) -> bytes:
    """Write a request whose body is there in one piece."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/{version}", "Host: x", f"Content-Length: {len(content)}", *lines, "", ""]
    return "\r\n".join(head).encode() + content


def chunked_request(body: Any, *lines: str, path: str = CALLBACK_PATH) -> bytes:
    """Write a request whose body comes in two chunks."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", *lines, "", ""]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (content[:20], content[20:]) if piece]
    return "\r\n".join(head).encode() + b"".join(chunks) + b"0\r\n\r\n"


async def answers(place: Place, *pieces: bytes, count: int = 1) -> list[RawAnswer]:
    """Send the pieces one after the other, and read so many answers."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return [await answer(reader) for _ in range(count)]
    finally:
        writer.close()


async def answered_until_closed(place: Place, *pieces: bytes) -> tuple[RawAnswer, bytes]:
    """Send the pieces, read one answer, and what comes until the server ends the connection."""
    reader, writer = await asyncio.open_connection(*place)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await answer(reader), await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> RawAnswer:
    """Read one answer."""
    status, *lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    return RawAnswer(int(status.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def count_rows(app: FastAPI, table: str, where: str = "true") -> int:
    """Count the rows of a gateway's table."""
    async with app.state.storage.database.transaction() as session:
        found: int = await session.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"))  # noqa: S608 -- ours
    return found
