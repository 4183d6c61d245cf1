"""Spans of callbacks, which do not pass the middleware.

A callback begins a trace of its own: the sampler decides how many are recorded, not a stranger's `traceparent`.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.tracing import CURRENT, Recorded, Recorder

_ROUTE = "/callbacks/{provider}/{token}"
_METHOD = "POST"
_SCOPE_KEY = "gateway.span"


class WebhookSpans:
    """Begins a span for each callback, keeps it in the scope, and ends it with the answer."""

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
