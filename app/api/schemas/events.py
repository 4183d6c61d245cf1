"""Answers with events."""

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from app.api import examples
from app.api.answers import Timestamp
from app.api.schemas.reports import REPORT_EXAMPLE
from app.errors import CursorExpired, InvalidArgument, NotAcceptable, Overloaded


class CloudEventAnswer(TypedDict, total=False):
    """Something that happened, as a CloudEvent 1.0."""

    specversion: Literal["1.0"]
    id: str
    type: str
    source: str
    subject: str
    time: Timestamp
    datacontenttype: Literal["application/json"]
    data: dict[str, Any]


class EventsAnswer(TypedDict):
    """Events, oldest first; `next` is where to go on."""

    events: list[CloudEventAnswer]
    next: str


_EVENT = {
    "specversion": "1.0",
    "id": REPORT_EXAMPLE["id"],
    "type": "location.report.located",
    "source": "https://gateway.example.com",
    "subject": "device/990001123456782",
    "time": "2024-05-17T14:30:07.412Z",
    "datacontenttype": "application/json",
    "data": REPORT_EXAMPLE,
}
EVENTS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events in their order",
        "content": {"application/json": {"example": {"events": [_EVENT], "next": "lM8AAAGg.0"}}},
    },
    **examples.problems(*examples.ACCESS, CursorExpired, InvalidArgument, NotAcceptable),
}
STREAM_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, without end",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **examples.problems(*examples.ACCESS, CursorExpired, InvalidArgument, NotAcceptable, Overloaded),
}
