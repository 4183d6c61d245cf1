"""Reports by the million: sent in any format that can be written while the reports are read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.reports import ReportRecord

MOST_STREAMS_PER_KEY = 4
MOST_STREAMS = 32
"""How many streams a process sends at a time; each of them holds a database connection and a snapshot."""

_ROWS_AT_ONCE = 150

Batches: TypeAlias = AsyncGenerator[list[ReportRecord], None]
Slices: TypeAlias = AsyncIterator[Sequence[ReportRecord]]
"""Reports in small portions, so that writing one portion keeps no other request waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A file format of reports.

    Attributes:
        write: Turns slices of reports into the bytes of a whole file, while they come.
    """

    media_type: str
    file_name: str
    write: Callable[[Slices], AsyncGenerator[bytes, None]]


class ReportStream(StreamingResponse):
    """A response of unknown length that lets go of the database whatever happens to it.

    A failure before the first row becomes a problem document; a later one breaks the connection, so that clients do not
    take a part for the whole.
    """

    def __init__(
        self,
        batches: Batches,
        to: Format,
        slot: AbstractContextManager[None],
        check: Callable[[], Awaitable[None]],
    ) -> None:
        """Make a response of all reports of the batches.

        Args:
            slot: Entered while the stream lasts.
            check: Called after each batch; what it raises breaks the stream off.
        """
        headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{to.file_name}"'}
        self._batches = batches
        self._slices = _slices(batches, check)
        self._first: Sequence[ReportRecord] = []
        self._chunks = to.write(self._all())
        self._slot = slot
        super().__init__(self._chunks, headers=headers, media_type=to.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            Overloaded: The key's other streams have to end first.
            Unavailable: Too many streams are being sent already, or the database is away.
        """
        with self._slot:
            async with aclosing(self._batches), aclosing(self._slices), aclosing(self._chunks):
                await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the chunks; the server cuts off a client that does not take them."""
        self._first = await anext(self._slices, [])
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _all(self) -> Slices:
        if self._first:
            yield self._first
        async for records in self._slices:
            yield records


async def _slices(
    batches: Batches, check: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Sequence[ReportRecord], None]:
    async for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            yield batch[start : start + _ROWS_AT_ONCE]
            # Sending does not wait as long as the client keeps up; others want their turn, too.
            await asyncio.sleep(0)
        await check()
