"""Ids, as they are written and read."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from app.ids import instant_of, milliseconds, new_public_id, parse_id, public_id


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_written_as_any_ulid_library_writes_it(key: bytes) -> None:
    assert public_id(UUID(bytes=key)) == str(ULID.from_bytes(key))


def test_new_ids_differ_and_begin_with_their_time() -> None:
    first, second = new_public_id(), new_public_id()

    assert first != second
    key = parse_id(first)
    assert key is not None
    assert 0 <= ULID.from_str(second).milliseconds - milliseconds(instant_of(key)) < 1000
