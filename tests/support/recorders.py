"""Recorders for tests: spans stay in memory."""

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

from app.observability.tracing import Recorder


class Recording:
    """A recorder, and what it has recorded."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler or ParentBased(ALWAYS_ON), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.recorder = Recorder(provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """What has ended so far."""
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """The names of what has ended so far."""
        return [span.name for span in self.spans]

    def the(self, name: str) -> ReadableSpan:
        """Find the one span of a name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Give what a span says of itself."""
    return dict(span.attributes or {})


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Tell whether one span is the parent of the other, in the same trace."""
    return (
        child.parent is not None
        and child.parent.span_id == parent.context.span_id
        and child.context.trace_id == parent.context.trace_id
    )
