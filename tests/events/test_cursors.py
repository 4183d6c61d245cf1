"""Cursors over transactions that become visible in any order, held against a model that remembers everything."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.storage.events import ORIGIN, Cursor, EventPosition, SeenPart, Snapshot


@dataclass
class Log:
    """A log in memory: transactions that run, and then are committed with some events, or not at all."""

    next_xid: int = 1
    running: set[int] = field(default_factory=set)
    sizes: dict[int, int] = field(default_factory=dict)

    def begin(self) -> None:
        self.running.add(self.next_xid)
        self.next_xid += 1

    def end(self, which: int, size: int) -> None:
        """End one of the running transactions; without events it leaves no row."""
        if self.running:
            xid = sorted(self.running)[which % len(self.running)]
            self.running.remove(xid)
            if size:
                self.sizes[xid] = size

    def crash(self) -> None:
        """Lose what runs, and give numbers again that left no trace."""
        self.running.clear()
        self.next_xid = max(self.sizes, default=0) + 1

    def read(self, cursor: Cursor, limit: int) -> tuple[list[tuple[EventPosition, Cursor]], Cursor]:
        """Read as `log.read` does; give the events with their cursors, and the cursor to go on from."""
        snapshot = Snapshot(self.next_xid, frozenset(self.running))
        positions = [EventPosition(1, xid, 0, place) for xid, size in self.sizes.items() for place in range(size)]
        unseen = [one for one in positions if not cursor.has_seen(one)]
        first = cursor.partial.xid if cursor.partial else None
        unseen.sort(key=lambda one: (one.xid != first, one))
        page = unseen[:limit]
        events = [(one, cursor.after(one, snapshot)) for one in page]
        if len(unseen) <= limit:
            newest = max(positions, default=None)
            return events, cursor.at_end(newest, snapshot)
        return events, events[-1][1]


BEGIN = st.tuples(st.just("begin"))
END = st.tuples(st.just("end"), st.integers(0, 5), st.integers(0, 4))
CRASH = st.tuples(st.just("crash"))
READ = st.tuples(st.just("read"), st.integers(1, 6), st.integers(0, 6))
STEPS = st.lists(st.one_of(BEGIN, BEGIN, END, END, READ, READ, CRASH), max_size=60)


def carry_out(log: Log, step: tuple[object, ...]) -> None:
    getattr(log, str(step[0]))(*step[1:])


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_a_reader_that_breaks_off_anywhere_sees_everything_once(steps: list[tuple[object, ...]]) -> None:
    log, cursor, seen = Log(), ORIGIN, list[EventPosition]()

    for name, *arguments in [*steps, ("read", 10_000, 10_000)]:
        if name != "read":
            carry_out(log, (name, *arguments))
            continue
        limit, taken = map(int, arguments)  # type: ignore[call-overload]
        events, end = log.read(cursor, limit)
        seen += [position for position, _ in events[:taken]]
        passed = [cursor, *(after for _, after in events)]
        cursor = Cursor.parse(str(passed[taken] if taken < len(events) else end))

    stored = [EventPosition(1, xid, 0, place) for xid, size in log.sizes.items() for place in range(size)]
    assert sorted(seen) == sorted(stored)


@given(STEPS, st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_what_two_have_seen_can_be_united(steps: list[tuple[object, ...]], other_reads_at: int) -> None:
    log, one, other = Log(), ORIGIN, ORIGIN

    for number, step in enumerate(steps):
        if step[0] == "read":
            one = log.read(one, int(str(step[1])))[1]
        else:
            carry_out(log, step)
        if number == other_reads_at:
            other = log.read(other, 10_000)[1]

    united = one.union(other)
    for position in [EventPosition(1, xid, 0, place) for xid, size in log.sizes.items() for place in range(size)]:
        assert united.has_seen(position) == (one.has_seen(position) or other.has_seen(position))


@pytest.mark.parametrize(
    "cursor",
    [
        ORIGIN,
        Cursor(1_790_000_000_000, 815),
        Cursor(1_790_000_000_000, 815, (3, 700, 814)),
        Cursor(1_790_000_000_000, 815, (700,), SeenPart(700, 12, 511)),
        Cursor(1_790_000_000_000, 815, (), SeenPart(815, 12, 0)),
    ],
)
def test_a_cursor_survives_being_written(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


def test_a_cursor_fits_into_an_address() -> None:
    cursor = Cursor(1_790_000_000_000, 4_000_000_000, tuple(range(3_999_999_800, 4_000_000_000)))

    assert len(str(cursor)) < 800
    assert str(cursor).replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "text", ["", ".", "x", "kwEC", "äöü", "lAH_kMA", "kwECkA.", "kwECkA.-1", "kwECkA.1", "a" * 5000]
)
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        Cursor.parse(text)


def test_what_was_dropped_before_it_was_seen_has_been_missed() -> None:
    dropped = EventPosition(2, 50, 0, 0)

    assert Cursor(2, 50).has_missed(dropped)
    assert Cursor(2, 80, (49,)).has_missed(dropped)
    assert Cursor(1, 99).has_missed(dropped)
    assert not Cursor(2, 51).has_missed(dropped)
    assert not Cursor(3, 1).has_missed(dropped)


def test_a_new_generation_leaves_nothing_of_the_old_one_to_come() -> None:
    cursor = Cursor(1, 100, (90,))

    later = cursor.after(EventPosition(2, 40, 1, 0), Snapshot(45, frozenset({38, 44})))

    assert later == Cursor(2, 40, (38,), SeenPart(40, 1, 0))
    assert later.has_seen(EventPosition(1, 90, 0, 0))
