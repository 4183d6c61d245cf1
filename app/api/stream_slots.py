"""How many streams a process sends at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded, Unavailable


class StreamSlots:
    """Bounds the streams of a process: of each key, so that none takes those of the others, and of all together."""

    def __init__(self, what: str, *, per_key: int, in_all: int) -> None:
        """Make slots; `what` names the streams, in the plural."""
        self._what = what
        self._per_key = per_key
        self._in_all = in_all
        self._taken: Counter[str] = Counter()

    @contextmanager
    def slot(self, key_id: str) -> Iterator[None]:
        """Take one of a key's slots while a stream lasts.

        Raises:
            Overloaded, Unavailable: The key has taken all of its slots, or all keys have taken all.
        """
        if self._taken[key_id] >= self._per_key:
            raise Overloaded(
                f"An API key may run {self._per_key} {self._what} at a time; try again when one has ended.",
                retry_after_s=10,
            )
        if self._taken.total() >= self._in_all:
            raise Unavailable(f"Too many {self._what} are running; try again when one has ended.", retry_after_s=10)
        self._taken[key_id] += 1
        try:
            yield
        finally:
            self._taken -= Counter([key_id])
