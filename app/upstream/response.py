"""A response that was read whole before it was made."""

from collections.abc import Sequence

import httpx


class WholeResponse(httpx.Response):
    """An httpx response whose body is there already, unpacked.

    Letting `httpx.Response` read a body that is no stream costs as much as the rest of the exchange.
    """

    def __init__(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, request: httpx.Request
    ) -> None:
        super().__init__(status, headers=headers, stream=httpx.ByteStream(body), request=request)
        self._content = body
        self.is_closed = True
        self.is_stream_consumed = True
