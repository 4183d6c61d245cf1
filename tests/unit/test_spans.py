"""Spans of time follow each other without a gap, and there are few of them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.storage.spans import FAR_FUTURE, FAR_PAST, backwards, forwards

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
instants = st.datetimes(timezones=st.just(UTC))
MOST = 8


@given(since=instants, until=instants, near=instants)
def test_spans_backwards_cover_the_time_once(since: datetime, until: datetime, near: datetime) -> None:
    spans = list(backwards(since, until, near=near, first=timedelta(hours=6)))

    assert (spans[0][1], spans[-1][0]) == (until, since)
    assert all(earlier[1] == later[0] for later, earlier in pairwise(spans))
    assert len(spans) <= MOST


@given(since=instants, until=instants)
def test_spans_forwards_cover_the_time_once(since: datetime, until: datetime) -> None:
    spans = list(forwards(since, until, first=WEEK))

    assert (spans[0][0], spans[-1][1]) == (since, until)
    assert all(earlier[1] == later[0] for earlier, later in pairwise(spans))
    assert len(spans) <= MOST


def test_without_an_end_the_first_span_holds_the_future_as_well() -> None:
    first, second, *_ = backwards(FAR_PAST, FAR_FUTURE, near=NOW, first=WEEK)

    assert first == (NOW - WEEK, FAR_FUTURE)
    assert second == (NOW - 5 * WEEK, NOW - WEEK)


def test_a_short_time_is_one_span() -> None:
    assert list(backwards(NOW - WEEK, NOW, near=NOW, first=WEEK)) == [(NOW - WEEK, NOW)]
    assert list(forwards(NOW, NOW + WEEK, first=WEEK)) == [(NOW, NOW + WEEK)]
