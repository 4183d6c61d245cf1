"""A small receiver of events, such as an application has: it checks signatures, and prints what it receives."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class EventReceiver:
    """Receives deliveries on a loopback port; one without a valid signature is refused.

    Attributes:
        secret: What deliveries are signed with, known once there is a subscription; until then none is accepted.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """Make a receiver; `say` is called with a line about each delivery."""
        self.secret: str | None = None
        self.url = ""
        self._say = say

    @contextmanager
    def running(self) -> Iterator[None]:
        """Receive while the block lasts."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204 if receiver.accepts(body, dict(self.headers.items())) else 401)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Leave the log to the receiver."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/events"
        thread = threading.Thread(target=server.serve_forever, name="event receiver")
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def accepts(self, body: bytes, headers: dict[str, str]) -> bool:
        """Check a delivery's signature, and print what it holds."""
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        told = json.loads(body)
        events = told if isinstance(told, list) else [told]
        kinds = Counter(event["type"] for event in events)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        self._say(f"  receiver: {len(events)} events, correctly signed: {counted}")
        return True
