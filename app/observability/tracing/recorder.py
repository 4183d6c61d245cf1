"""Spans, by the names and attributes of OpenTelemetry's semantic conventions, made with its API alone.

The conventions want the path of a request and the address of a call in full. Both can hold identifiers and tokens, so
they are left out.
"""

from collections.abc import Mapping
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TracerProvider,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from app.observability.tracing.context import CURRENT, read

Attributes = Mapping[str, str | int]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
_FIRST_SERVER_ERROR = 500
_NOBODY = Context()
"""The parent of what begins a trace. Nearly all callbacks have it, so it is made once; nothing can be put into it."""
_ASKED = {method: {"http.request.method": method} for method in _METHODS}
_ASKED_OTHERWISE = {"http.request.method": "_OTHER"}
_MOST_LINKS = 64
"""How many requests are linked to the commit that they share; the span also has the number of its entries."""


class Recorder:
    """Begins spans at one tracer provider, which decides what is sampled and where it goes."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("location-gateway", version("location-gateway"))

    def background(self) -> "Recorded":
        """Make what is current while no request is served: spans that begin under it begin traces of their own."""
        return Recorded(self, INVALID_SPAN)

    def request(self, method: str, sent: bytes | None = None) -> "Recorded":
        """Begin the span of a request.

        Args:
            sent: The caller's `traceparent`.
        """
        attributes: Attributes = _ASKED.get(method, _ASKED_OTHERWISE)
        context = _NOBODY if sent is None else _context_of(sent)
        return Recorded(self, self.begin(_name(method), SpanKind.SERVER, attributes, context))

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, context: Context, links: list[Link] | None = None
    ) -> Span:
        """Begin a span; the context is never the ambient one, so that spans of other libraries do not mix with ours."""
        return self._tracer.start_span(name, context, kind, attributes, links)


class Recorded:
    """A span of ours, and what takes place under it."""

    __slots__ = ("_recorder", "span")

    def __init__(self, recorder: Recorder, span: Span) -> None:
        self.span = span
        self._recorder = recorder

    @property
    def trace_id(self) -> str | None:
        """The id of the trace, in hexadecimal digits; None in the background."""
        context = self.span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else None

    @property
    def traceparent(self) -> str:
        """What makes the receiver's part of the trace a child of this span."""
        context = self.span.get_span_context()
        trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
        return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"

    def call(self, name: str, attributes: Attributes) -> "Recorded":
        """Begin the span of an outgoing call, under this one."""
        span = self._recorder.begin(name, SpanKind.CLIENT, attributes, _under(self.span))
        return Recorded(self._recorder, span)

    def note_provider(self, name: str) -> None:
        """Write down which provider it is about."""
        self.span.set_attribute("gateway.provider", name)

    def note(self, event: str, attributes: Attributes) -> None:
        """Write down that something happened."""
        self.span.add_event(event, attributes)

    def end(self, attributes: Attributes, *, error: str | None = None) -> None:
        """End the span.

        Args:
            error: A word for what went wrong, such as a status or a code of ours; never the text of an exception.
        """
        if self.span.is_recording():
            self.span.set_attributes(attributes)
            if error is not None:
                _fail(self.span, error)
        self.span.end()

    def end_request(self, method: str, route: str | None, status: int | None) -> None:
        """End the span of a request.

        Args:
            route: The template of the path; None where no route was found.
            status: The answer's; None if the client had left.
        """
        attributes: dict[str, str | int] = {}
        if route is not None:
            self.span.update_name(f"{_name(method)} {route}")
            attributes["http.route"] = route
        if status is not None:
            attributes["http.response.status_code"] = status
        self.end(attributes, error=str(status) if status is not None and status >= _FIRST_SERVER_ERROR else None)


class Commit:
    """One commit that requests share: it belongs to the trace of the first of them that is sampled.

    The others are linked, so that a trace that is kept always leads to its commit.
    """

    __slots__ = ("_requests", "_span")

    def __init__(self) -> None:
        self._requests: dict[int, SpanContext] = {}
        self._span: Span | None = None

    def join(self, trace: object) -> None:
        """Note for whom something is committed: the given trace, or else the current one."""
        trace = trace or CURRENT.get()
        if isinstance(trace, Recorded) and len(self._requests) <= _MOST_LINKS:
            context = trace.span.get_span_context()
            if context.trace_flags.sampled:
                self._requests[context.span_id] = context

    def begin(self, recorder: Recorder, entries: int) -> None:
        """Begin the span, which lasts until all of it is stored, however often that is tried."""
        first, *others = self._requests.values() or [None]
        context = _NOBODY if first is None else _under(NonRecordingSpan(first))
        attributes: Attributes = {"db.system.name": "postgresql", "gateway.commit.entries": entries}
        links = [Link(other) for other in others if other is not None]
        self._span = recorder.begin("commit", SpanKind.CLIENT, attributes, context, links)

    def end(self, error: str | None = None) -> None:
        """End the span, if it has begun."""
        if self._span is None:
            return
        if error is not None:
            _fail(self._span, error)
        self._span.end()


def _fail(span: Span, error: str) -> None:
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _name(method: str) -> str:
    return method if method in _METHODS else "HTTP"


def _context_of(sent: bytes) -> Context:
    """Make the caller's span the parent, if there is one."""
    found = read(sent)
    if found is None:
        return _NOBODY
    remote = SpanContext(
        int(found.trace_id, 16), int(found.parent_id, 16), is_remote=True, trace_flags=TraceFlags(int(found.flags, 16))
    )
    return _under(NonRecordingSpan(remote))


def _under(span: Span) -> Context:
    return set_span_in_context(span, _NOBODY)
