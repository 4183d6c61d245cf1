"""Traces: one span per request, call to a provider and commit, for an operator who has named a place to send them to.

Without one, nothing is recorded and the SDK is not even imported; the caller's trace is still continued. No span
holds a position, an identifier, a secret, a body or the text of an exception: attributes are words of our own, route
templates, numbers and the providers' host names.
"""

from app.observability.tracing.context import CURRENT, Continued, Trace, add_trace_id, continued
from app.observability.tracing.exporting import exporting
from app.observability.tracing.recorder import Commit, Recorded, Recorder
from app.observability.tracing.settings import TracingSettings

__all__ = [
    "CURRENT",
    "Commit",
    "Continued",
    "Recorded",
    "Recorder",
    "Trace",
    "TracingSettings",
    "add_trace_id",
    "continued",
    "exporting",
]
