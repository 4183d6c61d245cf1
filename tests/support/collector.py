"""A collector of traces on loopback: takes what is exported by OTLP over HTTP, and keeps the spans."""

import gzip
from collections.abc import Iterator
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import Receive, Scope, Send

from tests.support.servers import answer_lifespan


class Span(NamedTuple):
    """A span as it was exported, with hexadecimal ids."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: list[str]
    is_error: bool


class Collector:
    """An ASGI application.

    Attributes:
        spans: What came, in the order of its end.
        resources: What was said of the services that sent it.
        texts: Everything that was said in it, names of attributes included.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.texts: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        assert scope["path"] == "/v1/traces", scope["path"]
        body = b""
        while message := await receive():
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.take(gzip.decompress(body) if (b"content-encoding", b"gzip") in scope["headers"] else body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def take(self, body: bytes) -> None:
        """Decode an export and keep what is in it."""
        request = ExportTraceServiceRequest.FromString(body)
        self.texts.append(str(request))
        for group in request.resource_spans:
            self.resources.append(_attributes(group.resource.attributes))
            for scoped in group.scope_spans:
                self.spans += map(_to_span, scoped.spans)

    def named(self, name: str) -> list[Span]:
        """Find spans by name."""
        return [span for span in self.spans if span.name == name]

    def below(self, span: Span) -> Iterator[Span]:
        """Find the children of a span."""
        return (other for other in self.spans if other.parent_id == span.span_id and other.trace_id == span.trace_id)


def _to_span(span: Any) -> Span:
    return Span(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links=[link.span_id.hex() for link in span.links],
        is_error=span.status.code == 2,
    )


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found}
