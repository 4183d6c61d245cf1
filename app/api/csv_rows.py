"""Rows of CSV (RFC 4180) in which no spreadsheet finds a formula.

Every table that is exported goes through here. Numbers stay numbers; a text that a spreadsheet would run begins with an
apostrophe, which spreadsheets take for the mark of a text.
"""

import csv
import io
import re
import string
import unicodedata
from collections.abc import Iterable

from app.identifiers.spelling import visible

_FORMULA_STARTS = frozenset("=+-@\u2212")
_BREAKS = "\t\r\n\x0b\x0c\x00"
# With some settings, spreadsheets separate cells by semicolons and tabs, and then ignore the quotes.
_PARTS = re.compile(rf"([;{_BREAKS}])")
_HARMLESS_STARTS = frozenset(string.ascii_letters + string.digits)
_LOOKED_AT = 64


def to_csv_rows(rows: Iterable[Iterable[object]]) -> bytes:
    """Write rows, each with its line break: None as nothing, lists as words."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_to_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _to_cell(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, str):
        # Nearly all texts are like this; the careful look costs much more.
        if value[:1] in _HARMLESS_STARTS and ";" not in value and value.isprintable():
            return value
        return _to_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _to_text(" ".join(map(str, value))) if isinstance(value, list) else value


def _to_text(text: str) -> str:
    if not text:
        return text
    plain = text.lstrip(_BREAKS)
    before = text[: len(text) - len(plain)]
    parts = _PARTS.split(plain)
    # What begins with a break is marked in front of it.
    first = f"'{before}{parts[0]}" if before else _mark_formula(parts[0])
    return first + "".join(map(_mark_formula, parts[1:]))


def _mark_formula(part: str) -> str:
    """Mark a text that a spreadsheet may run: its first visible character decides, in any width."""
    beginning = visible(part[:_LOOKED_AT]).lstrip("\"' ")
    is_hidden = not beginning and len(part) > _LOOKED_AT
    is_formula = bool(beginning) and unicodedata.normalize("NFKC", beginning[0])[:1] in _FORMULA_STARTS
    return f"'{part}" if is_hidden or is_formula else part
