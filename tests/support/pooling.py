"""A client that keeps its connections, as load balancers do."""

import asyncio
from collections.abc import Callable, Mapping

Request = Callable[[int], tuple[str, bytes]]


class Client:
    """Asks over connections that it keeps as long as the answers let it.

    Attributes:
        answers: The heads of all answers.
        unanswered: How many requests were sent over a connection that was made, and not answered.
    """

    def __init__(self, port: int, request: Request, *, headers: Mapping[str, str] | None = None) -> None:
        """Make a client; `request` gives the first two words and the body of the request with a number."""
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
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
        head = f"{line} HTTP/1.1\r\nHost: gateway\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
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
