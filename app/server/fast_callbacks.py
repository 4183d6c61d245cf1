"""The fast path of callbacks: from the parser to the writer's queue, without a task and past the application.

Nearly all callbacks are small, and are answered with nothing but 200. What the server makes of each request would cost
more than storing such a callback. So it is queued as soon as its body is complete, and acknowledged when its batch is
committed. Everything else takes the full path, as any other request: larger bodies, bodies of which no report can be
made, refusals, and whatever comes while another request is being answered.
"""

from typing import Any

from starlette.types import ASGIApp, Scope

from app.api.webhook import Webhook, count_broken_off
from app.callbacks.tokens import Address
from app.errors import Unavailable
from app.server.protocol import GatewayProtocol

_PREFIX = b"/callbacks/"
_STORED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"


class CallbackProtocol(GatewayProtocol):
    """HTTP/1.1 for an application that has a `webhook`; one callback at a time takes the fast path."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook: Webhook = self.app.webhook
        self._callback: FastCallback | None = None
        self._acknowledgement = b""
        self._acknowledged_with: list[tuple[bytes, bytes]] | None = None

    def on_headers_complete(self) -> None:
        """Wait for the body of a callback; begin to answer anything else."""
        address = self._find_address() if self.url.startswith(_PREFIX) else None
        if address is None:
            super().on_headers_complete()
            return
        self.check_head()
        scope = self.scope
        scope["method"], scope["query_string"] = "POST", b""
        scope["path"], scope["raw_path"] = self.url.decode("ascii"), self.url
        self._callback = FastCallback(self, address, scope, keep_alive=self.keeps_alive)
        self.headers = []  # Trailers are no headers.

    def _find_address(self) -> Address | None:
        """Find the address that a request is sent to; None if it has to take the full path."""
        if (
            self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or self.parser.should_upgrade()
            or self.expect_100_continue
            or self.is_answering
            or self.is_full
        ):
            return None
        # What is escaped, or has a query, is the path of no address as it stands.
        return self.webhook.known_address(self.url.decode("ascii"))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        callback = self._callback
        if callback is None or callback.is_complete:
            super().on_body(body)
            return
        callback.body += body
        if len(callback.body) > self.webhook.largest_on_fast_path:
            self.take_full_path(callback, self.app, is_complete=False)

    def on_message_complete(self) -> None:
        """Hand in a callback whose body is complete."""
        callback = self._callback
        if callback is None or callback.is_complete:
            super().on_message_complete()
            return
        self.end_message()
        callback.is_complete = True
        self.webhook.take(callback.address, callback.scope, callback.body, callback)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is due; the one to a callback is as soon as its head has arrived."""
        return self._callback is not None or (self.cycle is not None and not self.cycle.response_complete)

    def close_after_answer(self) -> None:
        """Announce `Connection: close` in the pending answer, if there is one."""
        super().close_after_answer()
        if self._callback is not None:
            self._callback.keep_alive = False

    def abandon(self) -> bool:
        """Drop what has arrived of a request that will not arrive as a whole; return whether its answer has begun."""
        if self._callback is None:
            return super().abandon()
        count_broken_off(self._callback.address.provider)
        self._callback = None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop an incomplete callback; a complete one is still stored."""
        if self._callback is not None and not self._callback.is_complete:
            self.abandon()
        super().connection_lost(exc)

    def acknowledge(self, callback: "FastCallback") -> None:
        """Answer a callback that is stored."""
        self._callback = None
        if self.transport.is_closing():
            return
        headers = self.server_state.default_headers
        if headers is not self._acknowledged_with:
            # Made anew each second, as the date is.
            self._acknowledged_with = headers
            self._acknowledgement = _STORED + b"".join(b"%b: %b\r\n" % header for header in headers)
        if callback.keep_alive:
            self.transport.write(self._acknowledgement + b"\r\n")
        else:
            self.transport.write(self._acknowledgement + b"connection: close\r\n\r\n")
            self.transport.close()
        self.on_response_complete()

    def take_full_path(self, callback: "FastCallback", app: ASGIApp, *, is_complete: bool) -> None:
        """Let an application answer a callback, as it answers any other request."""
        self._callback = None
        self.begin(callback.scope, app, callback.body, is_complete=is_complete, keep_alive=callback.keep_alive)


class FastCallback:
    """A callback on the fast path, from its head to its answer.

    Attributes:
        body: As far as it has arrived.
        is_complete: Whether all of it has arrived.
        keep_alive: Whether the connection goes on after the answer.
    """

    __slots__ = ("_protocol", "address", "body", "is_complete", "keep_alive", "scope")

    def __init__(self, protocol: CallbackProtocol, address: Address, scope: Scope, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.address = address
        self.scope = scope
        self.body = b""
        self.is_complete = False
        self.keep_alive = keep_alive

    def stored(self) -> None:
        """Acknowledge it: it is committed."""
        self._protocol.webhook.count_stored(self.address, self.scope)
        self._protocol.acknowledge(self)

    def not_stored(self, error: Unavailable) -> None:
        """Answer why it should be sent again."""
        self._protocol.take_full_path(self, self._protocol.webhook.refusal(self.address, error), is_complete=True)

    def take_full_path(self) -> None:
        """Let the application answer it."""
        self._protocol.take_full_path(self, self._protocol.app, is_complete=True)
