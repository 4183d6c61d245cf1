"""Compression of answers, as the server hears of it."""

import zlib

from starlette.types import Message, Receive, Scope, Send

from app.api.layers import Compression


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/csv")]})
    for piece in (b"first\r\n", b"second\r\n"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def messages(accept_encoding: bytes) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": [(b"accept-encoding", accept_encoding)]}
    await Compression(streaming)(scope, receive, send)
    return sent


async def test_each_piece_of_a_stream_can_be_read_when_it_comes() -> None:
    start, *pieces = await messages(b"gzip")

    decoder = zlib.decompressobj(wbits=31)
    assert (b"content-encoding", b"gzip") in start["headers"]
    assert [decoder.decompress(piece["body"]) for piece in pieces] == [b"first\r\n", b"second\r\n", b""]


async def test_a_refusal_of_gzip_is_one() -> None:
    for refused in (b"gzip;q=0", b"br, gzip; q=0.000, deflate", b"identity", b""):
        start, *pieces = await messages(refused)

        assert b"content-encoding" not in dict(start["headers"])
        assert [piece["body"] for piece in pieces] == [b"first\r\n", b"second\r\n", b""]
