"""Reports by the million: CSV and newline-delimited JSON, written while they are read."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.csv_rows import to_csv_rows
from app.api.report_rendering import FLAT_MEMBERS, to_flat, to_report
from app.errors import Overloaded, Unavailable
from app.reports import ReportRecord

CSV = "text/csv"
NDJSON = "application/x-ndjson"
MOST_STREAMS_PER_KEY = 4
MOST_STREAMS = 32
"""How many streams a process sends at a time; each of them holds a database connection and a snapshot."""

_ROWS_AT_ONCE = 150

Batches = AsyncGenerator[list[ReportRecord], None]


class StreamSlots:
    """Bounds the streams of a process: of each key, so that none takes those of the others, and of all together."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def slot(self, key_id: str) -> Iterator[None]:
        """Take one of a key's slots while a stream lasts.

        Raises:
            Overloaded, Unavailable: The key has taken all of its slots, or all keys have taken all.
        """
        if self._taken[key_id] >= MOST_STREAMS_PER_KEY:
            raise Overloaded(
                f"An API key may run {MOST_STREAMS_PER_KEY} exports at a time; try again when one has ended.",
                retry_after_s=10,
            )
        if self._taken.total() >= MOST_STREAMS:
            raise Unavailable("Too many exports are running; try again when one has ended.", retry_after_s=10)
        self._taken[key_id] += 1
        try:
            yield
        finally:
            self._taken -= Counter([key_id])


def stream(
    batches: Batches, media_type: str, slot: AbstractContextManager[None], check: Callable[[], Awaitable[None]]
) -> "ReportStream":
    """Answer with all reports of the batches, as CSV or NDJSON.

    Args:
        slot: Entered while the stream lasts.
        check: Called after each batch; what it raises breaks the stream off.
    """
    if media_type == CSV:
        header = to_csv_rows([FLAT_MEMBERS])
        chunks = _chunks(batches, header, to_csv, check)
        return ReportStream(batches, chunks, f"{CSV}; charset=utf-8; header=present", "reports.csv", slot)
    return ReportStream(batches, _chunks(batches, b"", to_ndjson, check), NDJSON, "reports.ndjson", slot)


class ReportStream(StreamingResponse):
    """A response of unknown length that lets go of the database whatever happens to it.

    A failure before the first row becomes a problem document; a later one breaks the connection, so that nobody takes
    a part for the whole.
    """

    def __init__(
        self,
        batches: Batches,
        chunks: AsyncGenerator[bytes, None],
        media_type: str,
        file_name: str,
        slot: AbstractContextManager[None],
    ) -> None:
        headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{file_name}"'}
        self._batches = batches
        self._chunks = chunks
        self._slot = slot
        super().__init__(self._chunks, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            Overloaded: The key's other streams have to end first.
            Unavailable: Too many streams are being sent already, or the database is away.
        """
        with self._slot:
            async with aclosing(self._batches), aclosing(self._chunks):
                await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the chunks; the server cuts off a client that does not take them."""
        first = await anext(self._chunks, b"")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _chunks(
    batches: Batches,
    header: bytes,
    render: Callable[[Sequence[ReportRecord]], bytes],
    check: Callable[[], Awaitable[None]],
) -> AsyncGenerator[bytes, None]:
    pending = header
    async for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            yield pending + render(batch[start : start + _ROWS_AT_ONCE])
            pending = b""
            # Sending does not wait as long as the client keeps up; others want their turn, too.
            await asyncio.sleep(0)
        await check()
    if pending:
        yield pending


def to_ndjson(records: Sequence[ReportRecord]) -> bytes:
    """Write each report as one line of JSON."""
    return b"".join(orjson.dumps(to_report(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)


def to_csv(records: Sequence[ReportRecord]) -> bytes:
    """Write each report as one row."""
    return to_csv_rows([flat[name] for name in FLAT_MEMBERS] for flat in map(to_flat, records))
