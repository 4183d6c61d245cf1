"""The types of events, and the patterns that callers choose them by."""

from collections.abc import Iterable

from app.storage.events import StoredEvent
from app.storage.reports import ReportRecord

LOCATED = "location.report.located"
FAILED = "location.report.failed"
OTHER = "location.report.other"
TYPES = (
    *(LOCATED, FAILED, OTHER),
    *("periodic.started", "periodic.ended", "periodic.overdue", "periodic.caught-up"),
    *("listener.lost", "listener.regained"),
    *("provider.degraded", "provider.recovered"),
    *("consent.changed", "usage.drifted"),
    *("subscription.disabled", "gateway.test"),
)
"""All types that there are."""


def type_of(event: StoredEvent) -> str:
    """Name the type of an event; only reports about a position are located or failed."""
    what = event.what
    if not isinstance(what, ReportRecord):
        return what.type
    if what.type != "location":
        return OTHER
    return {"located": LOCATED, "failed": FAILED}.get(what.status, OTHER)


def subject_of(event: StoredEvent) -> str | None:
    """Name what an event is about; None where its report names no device."""
    what = event.what
    if not isinstance(what, ReportRecord):
        return what.subject
    device = what.device.removeprefix("mdn:").removeprefix("name:")
    return f"device/{device}" if device else None


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """Find the types that are named, or belong to a family such as `location.*`.

    Raises:
        ValueError: One of the patterns matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        family = pattern[:-1] if pattern.endswith(".*") else None
        of_pattern = {name for name in TYPES if name == pattern or (family and name.startswith(family))}
        if not of_pattern:
            raise ValueError("There is no such type of events.")
        found |= of_pattern
    return frozenset(found)
