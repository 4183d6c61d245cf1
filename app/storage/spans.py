"""Spans of time to look for rows in, one after the other, so that a page opens no more partitions than it needs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

FAR_PAST = datetime.min.replace(tzinfo=UTC)
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)
_GROWTH = 4
_LONGEST = timedelta(days=300)


def backwards(
    since: datetime, until: datetime, *, near: datetime, first: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Divide the time from `since` to `until` into spans, latest first.

    Each is four times as long as the one before, and the last one is all that is left, so that there are few.

    Args:
        near: Where most of the latest rows are, when `until` lies further ahead.
        first: How long before that the first span begins.
    """
    begin, end, length = min(near, until), until, first
    while length < _LONGEST and begin - since > length:
        begin -= length
        yield begin, end
        end, length = begin, length * _GROWTH
    yield since, end


def forwards(since: datetime, until: datetime, *, first: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Divide the time from `since` to `until` into spans, earliest first; as `backwards`."""
    begin, length = since, first
    while length < _LONGEST and until - begin > length:
        yield begin, begin + length
        begin, length = begin + length, length * _GROWTH
    yield begin, until
