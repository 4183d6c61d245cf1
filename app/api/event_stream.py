"""Events as server-sent events.

Readers at the same place that want the same get the same bytes, which are put together once: with many readers that is
nearly all of the work. Libraries for this write every event for every reader, and have several tasks for each; what is
left for them, a few lines of text, is here.
"""

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing

from starlette.types import Receive, Scope, Send

from app.api.prompt_stream import PromptStream
from app.errors import GatewayError, RequestError
from app.events import Cursor, Event, EventBatch, Selection

EVENT_STREAM = "text/event-stream"
MOST_FOLLOWERS_PER_KEY = 500
MOST_FOLLOWERS = 2_000
"""How many readers a process lets follow; each costs some memory, and a write for each batch of events."""
_HEARTBEAT_S = 10.0
_CHECK_EVERY_S = 1.0
_LOOK_UP_EVERY_S = 10.0
_RETRY_MS = (500, 3000)
"""After how long readers come back when the process stops, not all at the same time."""
_LARGEST_PIECE = 128 * 1024
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(PromptStream):
    """A response that goes on until the reader leaves, its key is revoked, or the process stops."""

    def __init__(
        self,
        batches: AsyncGenerator[EventBatch, None],
        start: Cursor,
        selection: Selection,
        *,
        slot: AbstractContextManager[None],
        check: Callable[[], Awaitable[None]],
        look_up: Callable[[], Awaitable[Selection]],
        on_end: Callable[[int], None],
    ) -> None:
        """Make the stream.

        Args:
            batches: From `start` on; closed at the end.
            slot: Entered while the stream lasts.
            check: Called every second; what it raises ends the stream.
            look_up: Looks up the selection anew.
            on_end: Called with the number of events that were sent.
        """
        self._batches = batches
        self._start = start
        self._selection = selection
        self._slot = slot
        self._check = check
        self._look_up = look_up
        self._on_end = on_end
        self._sent = 0
        self._checked_at = self._looked_up_at = time.monotonic()
        super().__init__(self._write(), headers=_HEADERS, media_type=EVENT_STREAM)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            Overloaded, Unavailable: The key, or all keys together, follow too many streams already.
        """
        with self._slot:
            try:
                async with aclosing(self._batches):
                    await super().__call__(scope, receive, send)
            finally:
                self._on_end(self._sent)

    async def _write(self) -> AsyncGenerator[bytes, None]:
        begun = await anext(self._batches, None)
        # Who is cut off before the first event still knows where to go on.
        yield b"id: %b\n\n" % str(self._start).encode()
        if begun is not None:
            for piece in _split(self._frames(begun)):
                yield piece
        sent_at = time.monotonic()
        async for batch in self._batches:
            if not await self._goes_on():
                return
            frames = self._frames(batch)
            now = time.monotonic()
            if not frames and now - sent_at >= _HEARTBEAT_S:
                frames = b": still here\n\n"
            if frames:
                sent_at = now
            for piece in _split(frames):
                yield piece
        yield b"retry: %d\n\n" % random.randint(*_RETRY_MS)  # noqa: S311 -- so that not all come back at once

    async def _goes_on(self) -> bool:
        """Look from time to time whether the reader still may, and whom it means by now."""
        now = time.monotonic()
        try:
            if now - self._checked_at >= _CHECK_EVERY_S:
                self._checked_at = now
                await self._check()
            if self._selection.is_looked_up and now - self._looked_up_at >= _LOOK_UP_EVERY_S:
                self._looked_up_at = now
                self._selection = await self._look_up()
        except RequestError:
            return False
        except GatewayError:
            # While the database is away this cannot be checked, and no events come.
            return True
        return True

    def _frames(self, batch: EventBatch) -> bytes:
        made = batch.made.get(self._selection)
        if made is None:
            events = list(batch.selected(self._selection))
            made = batch.made[self._selection] = (b"".join(map(to_frame, events)), len(events))
        self._sent += made[1]
        return made[0]


def _split(frames: bytes) -> Iterator[bytes]:
    """Cut what is large, so that others get their turn in between."""
    for start in range(0, len(frames), _LARGEST_PIECE):
        yield frames[start : start + _LARGEST_PIECE]


def to_frame(event: Event) -> bytes:
    """Write one event; its JSON has no line breaks."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.cursor.encode(), event.type.encode(), event.json)
