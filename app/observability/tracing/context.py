"""The trace that is being served: what the log and the calls to providers have to know of it."""

import re
from collections.abc import MutableMapping
from contextvars import ContextVar
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Trace(Protocol):
    """Our part of a trace.

    Attributes:
        trace_id: In hexadecimal digits, as it stands in the log; None while there is no trace.
    """

    @property
    def trace_id(self) -> str | None: ...  # noqa: D102 -- see the class


class Continued(NamedTuple):
    """The caller's trace, handed on to providers by a gateway that records nothing of it.

    Attributes:
        trace_id: As the caller sent it.
        traceparent: What calls to providers carry.
    """

    trace_id: str
    traceparent: str


class Sent(NamedTuple):
    """A `traceparent` taken apart (W3C Trace Context)."""

    trace_id: str
    parent_id: str
    flags: str


CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace of the request that is being served; None when there is none."""


def read(sent: bytes | None) -> Sent | None:
    """Read the `traceparent` that a caller sent; None for what is none."""
    found = _FORM.fullmatch(sent) if sent else None
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return Sent(found[1].decode(), found[2].decode(), found[3].decode())


def continued(sent: bytes | None) -> Continued | None:
    """Continue the caller's trace: the same trace, a new parent; None when there is no trace."""
    found = read(sent)
    if found is None:
        return None
    return Continued(found.trace_id, f"00-{found.trace_id}-{token_hex(8)}-{found.flags}")


def add_trace_id(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write the trace's id into a line of the log; a processor for structlog."""
    trace = CURRENT.get()
    if trace is not None and trace.trace_id is not None:
        line.setdefault("trace_id", trace.trace_id)
    return line
