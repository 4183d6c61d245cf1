"""Deliveries as they go over the wire: CloudEvents in JSON, alone or as a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.subscriptions.events import DeliverableEvent

_ONE = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A body and what it is."""

    media_type: str
    body: bytes


def to_message(events: Sequence[DeliverableEvent], *, is_batch: bool) -> Message:
    """Write events as the body of a delivery."""
    if is_batch:
        return Message(media_type=_BATCH, body=b"[" + b",".join(event.body for event in events) + b"]")
    return Message(media_type=_ONE, body=events[0].body)
