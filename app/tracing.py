"""Continues the caller's trace towards the providers (W3C Trace Context, `traceparent`)."""

import re
from contextvars import ContextVar
from secrets import token_hex

TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""What calls to providers carry while this request is served; None when the caller sent none."""

_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def continued(sent: bytes | None) -> str | None:
    """Make the `traceparent` of our own part of a trace: the same trace, a new parent; None for what is none."""
    found = _FORM.fullmatch(sent) if sent else None
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return f"00-{found[1].decode()}-{token_hex(8)}-{found[3].decode()}"
