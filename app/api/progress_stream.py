"""Answers of requests that take long: one JSON line for each step, and the answer itself in the last line."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from app.api.problems import to_problem
from app.api.prompt_stream import PromptStream
from app.errors import GatewayError

NDJSON = "application/x-ndjson"

OnStep = Callable[[int, int], None]


class ProgressStream(PromptStream):
    """Does the work while it is sent; a client that goes away ends the work."""

    def __init__(self, work: Callable[[OnStep], Awaitable[Any]], request_id: str) -> None:
        self._lines = _lines(work, request_id)
        super().__init__(self._lines, media_type=NDJSON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        async with aclosing(self._lines):
            await super().__call__(scope, receive, send)


async def _lines(work: Callable[[OnStep], Awaitable[Any]], request_id: str) -> AsyncGenerator[bytes, None]:
    steps: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(lambda done, total: steps.put_nowait((done, total))))
    task.add_done_callback(lambda _: steps.put_nowait(None))
    is_begun = False
    try:
        while (step := await steps.get()) is not None:
            is_begun = True
            yield _to_line({"progress": {"done": step[0], "total": step[1]}})
        yield _to_line(await task)
    except GatewayError as error:
        if not is_begun:
            raise
        yield _to_line({"problem": to_problem(error, request_id)})
    finally:
        task.cancel()


def _to_line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
