"""The webhook for providers' callbacks: plain ASGI beside the framework, because callbacks come in bursts.

200 with an empty body means committed; 404 an unknown token; 401 a signature that is enforced and wrong; 413 too large;
415 a content coding that is not undone here; 400 not a JSON object (kept raw as well); 503 not stored, try again.
"""

from collections.abc import Awaitable, Mapping
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem_response
from app.callbacks.decoding import LARGEST_ON_LOOP
from app.callbacks.ingest import Ingest, Sender
from app.callbacks.tokens import Address, CallbackTokens
from app.content import legible
from app.errors import BodyTooLarge, GatewayError, MalformedJson, Overloaded, Unavailable
from app.ids import new_public_id
from app.model import ProviderName
from app.observability import metrics
from app.observability.tracing import CURRENT, Recorded, Recorder

log = structlog.get_logger()

PREFIX = "/callbacks/"
_OK = 200
_START: Message = {"type": "http.response.start", "status": _OK, "headers": [(b"content-length", b"0")]}
_BODY: Message = {"type": "http.response.body", "body": b""}
_ROUTE = "/callbacks/{provider}/{token}"
_METHOD = "POST"
_SCOPE_KEY = "gateway.span"


class ClientGone(Exception):
    """The sender closed the connection before its body was complete."""


class Webhook:
    """Answers `POST /callbacks/{provider}/{token}`.

    Attributes:
        largest_on_fast_path: The largest body that `take` is given, in bytes.
    """

    def __init__(
        self,
        ingest: Ingest,
        addresses: CallbackTokens,
        providers: list[ProviderName],
        *,
        limit: int,
        recorder: Recorder | None = None,
    ) -> None:
        """Serve the callbacks of some providers.

        Args:
            limit: The largest body taken, in bytes.
            recorder: Makes a span of each callback; None where nothing is traced.
        """
        self._ingest = ingest
        self._addresses = addresses
        self._limit = limit
        self.largest_on_fast_path = min(limit, LARGEST_ON_LOOP)
        self._spans = None if recorder is None else WebhookSpans(recorder)
        self._stored: Mapping[str, Any] = {name: metrics.CALLBACKS.labels(name, "stored") for name in providers}

    def is_callback(self, scope: Scope) -> bool:
        """Return whether a request is a callback."""
        if scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
            return False
        provider, token = _place(scope["path"])
        return provider in self._stored and bool(token) and "/" not in token

    def known_address(self, path: str) -> Address | None:
        """Find the address of a callback by its path, without asking the database."""
        return self._addresses.known(*_place(path))

    def take(self, address: Address, scope: Scope, body: bytes, sender: Sender) -> None:
        """Take a callback on the fast path: its body is complete, and no task waits for the answer.

        Args:
            sender: Called when the callback is stored or cannot be, or when it has to take the full path.
        """
        trace = None if self._spans is None else self._spans.begin(scope)
        self._ingest.take_fast_path(address, body, _Headers(scope["headers"]), sender, trace)

    def count_stored(self, address: Address, scope: Scope) -> None:
        """Count a callback of the fast path that is committed."""
        self._stored[address.provider].inc()
        if self._spans is not None:
            self._spans.end(scope, address.provider, _OK)

    def refusal(self, address: Address, error: Unavailable) -> ASGIApp:
        """Make what answers a callback of the fast path that could not be committed."""

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            await self._refuse(error, address.provider, scope, receive, send)

        return refuse if self._spans is None else self._spans.around(refuse, address.provider)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one callback on the full path."""
        if self._spans is None:
            return self._answer(scope, receive, send)
        return self._spans.around(self._answer, _place(scope["path"])[0])(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider, token = _place(scope["path"])
        try:
            address = self._addresses.known(provider, token)
            if address is None:
                address = await self._addresses.find(provider, token)
            sent = await self._read(scope, receive)
            body = legible(sent, scope["headers"], self._limit)
            is_readable = await self._ingest.take(address, body, _Headers(scope["headers"]), signed=sent)
        except GatewayError as error:
            await self._refuse(error, provider, scope, receive, send)
        except ClientGone:
            count_broken_off(provider)
        except Exception as error:  # noqa: BLE001 -- the last line of defence: not stored, so sent again
            log.error("callback failed", provider=provider, error=type(error).__name__)
            await self._refuse(Unavailable("The callback could not be stored."), provider, scope, receive, send)
        else:
            if is_readable:
                self._stored[provider].inc()
                await send(_START)
                await send(_BODY)
            else:
                unreadable = MalformedJson("The body is no JSON object; its bytes are kept in quarantine.")
                await self._refuse(unreadable, provider, scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > self._limit:
                raise BodyTooLarge(f"Send at most {self._limit} bytes.")
            return body
        chunks: list[bytes] = []
        size = 0
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limit:
                raise BodyTooLarge(f"Send at most {self._limit} bytes.")
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await receive()

    @staticmethod
    async def _refuse(error: GatewayError, provider: str, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(error, Overloaded):
            # The provider has to try again later, whatever the reason was.
            error = Unavailable(error.detail, retry_after_s=error.retry_after_s)
        request_id = new_public_id()
        metrics.CALLBACKS.labels(provider, error.code.lower()).inc()
        log.warning("callback refused", provider=provider, code=error.code, request_id=request_id)
        await problem_response(error, request_id, headers={"X-Request-Id": request_id})(scope, receive, send)


def count_broken_off(provider: str) -> None:
    """Count a callback whose sender left before its body was complete."""
    metrics.CALLBACKS.labels(provider, "broken_off").inc()


def _place(path: str) -> tuple[str, str]:
    """Read provider and token from a path; slashes that were doubled on the way do no harm."""
    provider, _, token = path[len(PREFIX) :].lstrip("/").partition("/")
    return provider, token.lstrip("/")


class _Headers(Mapping[str, str]):
    """Header fields by lower-case name, decoded only when asked for."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        wanted = name.encode("latin-1")
        for key, value in self._raw:
            if key == wanted:
                return value.decode("latin-1")
        raise KeyError(name)

    def __iter__(self) -> Any:
        return (key.decode("latin-1") for key, _ in self._raw)

    def __len__(self) -> int:
        return len(self._raw)


class WebhookSpans:
    """Begins a span for each callback, keeps it in the scope, and ends it with the answer.

    A callback begins a trace of its own: the sampler decides how many are recorded, not the sender's `traceparent`.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def begin(self, scope: Scope) -> Recorded:
        """Begin the span of a callback."""
        span: Recorded = self._recorder.request(_METHOD)
        scope[_SCOPE_KEY] = span
        return span

    @staticmethod
    def end(scope: Scope, provider: str, status: int | None) -> None:
        """End the span of a callback that has been answered, or whose sender has left."""
        span: Recorded = scope.pop(_SCOPE_KEY)
        span.note_provider(provider)
        span.end_request(_METHOD, _ROUTE, status)

    def around(self, app: ASGIApp, provider: str) -> ASGIApp:
        """Make a span the current one while `app` answers: the callback's, if it has begun before."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            status: int | None = None

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            CURRENT.set(scope.get(_SCOPE_KEY) or self.begin(scope))
            try:
                await app(scope, receive, noting)
            finally:
                self.end(scope, provider, status)

        return answer
