"""Reading requests and sending answers without the weight of a framework: benchmarks use the simulator as a vendor."""

from starlette.types import Receive, Scope, Send


def header(scope: Scope, name: bytes) -> bytes:
    """Return a header of the request, empty if absent; `name` is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


async def read_body(receive: Receive) -> bytes:
    """Return the whole body of the request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body", False):
        message = await receive()
        body += message.get("body", b"")
    return body


async def answer(
    send: Send, status: int, body: bytes, content_type: bytes = b"application/json", *headers: tuple[bytes, bytes]
) -> None:
    """Send a complete answer."""
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
