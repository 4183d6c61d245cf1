"""No text of a row is taken for a formula, and every row is read back as it was written."""

import csv
import io
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.csv_rows import to_csv_rows

STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe66", "\u2212"]
UNSEEN = ["", " ", "\ufeff", "\u200b", "\u00a0", "a;", "a\t", "a\n", 'a;"']
texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", " ", "\ufeff", "\u200b", "\u00a0"]),
        st.sampled_from(STARTS),
        st.text(max_size=8),
    ),
    st.text("=+-@;,\t\r\n\"' 0a", max_size=12),
)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))


def to_csv_row(cells: list[Any]) -> str:
    return to_csv_rows([cells]).decode()


def read(row: str) -> list[str]:
    [cells] = csv.reader(io.StringIO(row, newline=""), strict=True)
    return cells


def first_visible(cell: str) -> str:
    seen = [character for character in cell if unicodedata.category(character) != "Cf" and not character.isspace()]
    return unicodedata.normalize("NFKC", seen[0])[0] if seen else ""


@given(st.lists(st.one_of(texts, numbers), min_size=1, max_size=6))
def test_a_row_is_read_back_and_no_text_begins_a_formula(values: list[str | float]) -> None:
    cells = read(to_csv_row(["id", *values]))[1:]

    for value, cell in zip(values, cells, strict=True):
        if not isinstance(value, str):
            assert type(value)(cell) == value
            continue
        assert cell == value or cell.replace("'", "") == value.replace("'", "")
        assert cell[:1] not in {"\t", "\r", "\n"}
        assert first_visible(cell) not in {"=", "+", "-", "@", "\u2212"}


@given(st.lists(texts, min_size=1, max_size=6))
def test_a_spreadsheet_that_parts_cells_elsewhere_finds_no_formula_either(values: list[str]) -> None:
    values = [value.lstrip() for value in values]
    for part in re.split(r"[;\t\r\n]", to_csv_row(["id", *values])):
        assert first_visible(part.replace('"', "")) not in {"=", "+", "-", "@", "\u2212"}


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("990001123456782", "990001123456782"),
        ("A10000EE77FF88", "A10000EE77FF88"),
        ("0844559123-00001", "0844559123-00001"),
        ("2026-03-02T12:00:00Z", "2026-03-02T12:00:00Z"),
        ('=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'),
        ("@SUM(1+1)*cmd|' /C calc'!A0", "'@SUM(1+1)*cmd|' /C calc'!A0"),
        ("\uff1d1+1", "'\uff1d1+1"),
        (" =1+1", "' =1+1"),
        ("a;=1+1", "a;'=1+1"),
        ("a; b", "a; b"),
        ("\t=1", "'\t=1"),
        (-71.26483, "-71.26483"),
        (68, "68"),
        (True, "true"),
        (None, ""),
        (["late", "=x"], "late =x"),
    ],
)
def test_what_is_harmless_stays_as_it_is(value: object, cell: str) -> None:
    assert to_csv_row([1, value]) == f"1,{cell}\r\n"
