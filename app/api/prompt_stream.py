"""Responses of unknown length whose first piece decides whether they are one at all."""

from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Send


class PromptStream(StreamingResponse):
    """A stream that begins with its first piece; what fails before that is an ordinary problem."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], **options: Any) -> None:
        """Make a stream of pieces; `options` as for `StreamingResponse`."""
        self._pieces = pieces
        super().__init__(pieces, **options)

    async def stream_response(self, send: Send) -> None:
        """Send the pieces; the server cuts off a client that does not take them."""
        first = await anext(self._pieces, b"")
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
