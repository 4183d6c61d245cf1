"""Events as readers get them: rendered once, however many take them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from app.events.selection import Selection
from app.events.types import type_of
from app.storage.events import Cursor, StoredEvent

Render: TypeAlias = Callable[[StoredEvent], bytes]
"""Writes an event as a CloudEvent in JSON, without line breaks."""


class Event:
    """An event of the log; its JSON is made when it is first asked for.

    Attributes:
        cursor: The text of the place behind it.
    """

    __slots__ = ("_json", "_render", "cursor", "stored", "type")

    def __init__(self, stored: StoredEvent, render: Render, cursor: str | None = None) -> None:
        self.stored = stored
        self.type = type_of(stored)
        self.cursor = cursor or stored.cursor_text
        self._render = render
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The CloudEvent, in one line."""
        if self._json is None:
            self._json = self._render(self.stored)
        return self._json

    def seen_with(self, cursor: Cursor) -> "Event":
        """Make the same event for a reader who has seen what is before a cursor, too."""
        return Event(self.stored, self._render, str(cursor.union(self.stored.cursor)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventBatch:
    """Events that follow each other, for all readers that are at the same place.

    Attributes:
        end: Where to go on; None where the batch is only a sign of life.
        made: What a stream sends of the batch, and how many events that is, by selection: most readers select the same.
    """

    events: Sequence[Event] = ()
    end: Cursor | None
    made: dict[Selection, tuple[bytes, int]] = field(default_factory=dict)

    def selected(self, selection: Selection) -> Iterable[Event]:
        """Return the events that a reader wants and may see."""
        return self.events if selection.is_everything else [one for one in self.events if selection.has(one.stored)]

    def seen_with(self, cursor: Cursor) -> "EventBatch":
        """Make the same batch for a reader who has seen what is before a cursor, too."""
        assert self.end is not None
        unseen = [one.seen_with(cursor) for one in self.events if not cursor.has_seen(one.stored.position)]
        return replace(self, events=unseen, end=cursor.union(self.end), made={})
