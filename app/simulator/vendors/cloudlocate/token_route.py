"""`POST` on the token path: RFC 6749 in small."""

import orjson
from starlette.types import Receive, Scope, Send

from app.simulator.vendors.cloudlocate.exchange import answer, header, read_body
from app.simulator.vendors.cloudlocate.tokens import Doorkeeper, TokenRefused

_NO_STORE = (b"cache-control", b"no-store")


class TokenEndpoint:
    """An ASGI application that hands out tokens."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one token call."""
        body = await read_body(receive)
        is_form = header(scope, b"content-type").startswith(b"application/x-www-form-urlencoded")
        try:
            # What is no form has no grant_type, which is the error to report.
            granted = self._doorkeeper.grant(header(scope, b"authorization"), body if is_form else b"")
        except TokenRefused as refused:
            challenge = [(b"www-authenticate", b"Basic")] if refused.status == 401 else []  # noqa: PLR2004 plain enough
            content = orjson.dumps({"error": refused.code, "error_description": refused.code.replace("_", " ")})
            await answer(send, refused.status, content, b"application/json", _NO_STORE, *challenge)
        else:
            await answer(send, 200, orjson.dumps(granted), b"application/json", _NO_STORE)
