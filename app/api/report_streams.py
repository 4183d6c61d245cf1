"""Reports by the million: CSV and newline-delimited JSON, written while they are read."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.csv_rows import to_csv_rows
from app.api.report_rendering import FLAT_MEMBERS, to_flat, to_report
from app.errors import Unavailable
from app.storage.reports import ReportRecord

CSV = "text/csv"
NDJSON = "application/x-ndjson"
MOST_STREAMS = 4
"""How many streams a process sends at a time; each of them holds a database connection and a snapshot."""

_ROWS_AT_ONCE = 150
_STALLED_AFTER_S = 60

Batches = AsyncGenerator[list[ReportRecord], None]


def stream(batches: Batches, media_type: str, places: asyncio.Semaphore) -> "ReportStream":
    """Answer with all reports of the batches, as CSV or NDJSON.

    Args:
        places: One of them is taken while the stream lasts; there is no waiting for one.
    """
    if media_type == CSV:
        header = to_csv_rows([FLAT_MEMBERS])
        return ReportStream(batches, header, to_csv, f"{CSV}; charset=utf-8; header=present", "reports.csv", places)
    return ReportStream(batches, b"", to_ndjson, NDJSON, "reports.ndjson", places)


class ReportStream(StreamingResponse):
    """A response of unknown length that lets go of the database whatever happens to it.

    A failure before the first row becomes a problem document; a later one breaks the connection, so that nobody takes
    a part for the whole.
    """

    def __init__(
        self,
        batches: Batches,
        header: bytes,
        render: Callable[[Sequence[ReportRecord]], bytes],
        media_type: str,
        file_name: str,
        places: asyncio.Semaphore,
    ) -> None:
        headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{file_name}"'}
        self._batches = batches
        self._chunks = _chunks(batches, header, render)
        self._places = places
        super().__init__(self._chunks, headers=headers, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            Unavailable: Too many streams are being sent already, or the database is away.
        """
        if self._places.locked():
            raise Unavailable("Too many exports are running; try again when one has ended.", retry_after_s=10)
        async with self._places, aclosing(self._batches), aclosing(self._chunks):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Send the chunks, and give up on a client that takes none of them for a minute."""
        first = await anext(self._chunks, b"")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for chunk in self._chunks:
            async with asyncio.timeout(_STALLED_AFTER_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _chunks(
    batches: Batches, header: bytes, render: Callable[[Sequence[ReportRecord]], bytes]
) -> AsyncGenerator[bytes, None]:
    pending = header
    async for batch in batches:
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            yield pending + render(batch[start : start + _ROWS_AT_ONCE])
            pending = b""
            # Sending does not wait as long as the client keeps up; others want their turn, too.
            await asyncio.sleep(0)
    if pending:
        yield pending


def to_ndjson(records: Sequence[ReportRecord]) -> bytes:
    """Write each report as one line of JSON."""
    return b"".join(orjson.dumps(to_report(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)


def to_csv(records: Sequence[ReportRecord]) -> bytes:
    """Write each report as one row."""
    return to_csv_rows([flat[name] for name in FLAT_MEMBERS] for flat in map(to_flat, records))
