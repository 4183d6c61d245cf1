"""Which devices a key's patterns allow, and that no pattern takes long to say so."""

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from app.caller import Reach
from app.model import Device


def allows(pattern: str, name: str) -> bool:
    return Reach(devices=(pattern,)).has_device(Device(name=name))


@given(st.text("ab[!]*?.", max_size=8), st.text("ab[!]*?.\n", min_size=1, max_size=8))
def test_stars_stand_for_any_characters_and_question_marks_for_one(pattern: str, name: str) -> None:
    parts = {"*": ".*", "?": "."}
    expected = "".join(parts.get(character) or re.escape(character) for character in pattern)

    assert allows(pattern, name) == bool(re.fullmatch(expected, name, re.DOTALL))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    started = time.perf_counter()

    assert not allows("*a" * 60 + "*b", "a" * 128)
    assert time.perf_counter() - started < 1
