"""Events as they happen: `reader` for callers, `hub` reads the log once for all of a process, `selection` filters."""

from app.events.announcer import Announcer
from app.events.event import Event, EventBatch
from app.events.hub import EventHub
from app.events.reader import EventPage, EventReader, Start
from app.events.selection import EVERY_EVENT, EventFilter, Selection
from app.events.types import TYPES, matching, subject_of, type_of
from app.storage.events import Cursor, OtherEvent, StoredEvent

__all__ = [
    "EVERY_EVENT",
    "TYPES",
    "Announcer",
    "Cursor",
    "Event",
    "EventBatch",
    "EventFilter",
    "EventHub",
    "EventPage",
    "EventReader",
    "OtherEvent",
    "Selection",
    "Start",
    "StoredEvent",
    "matching",
    "subject_of",
    "type_of",
]
