"""What people and programs put around and between the characters of an identifier."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

LONGEST = 128
"""Characters of a text that may hold an identifier."""

_EXACT_IN_A_FLOAT = 2**53
_LARGEST_NUMBER = 10**20
_ROUNDED = 10**5
"""What a program rounded for display ends in at least five zeros."""

_AROUND = "'\"`\u00b4\u2018\u2019\u201c\u201d<>[]{} \t\r\n\v\f"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
# Invisible although Unicode does not class them as format characters: fillers, blanks, joiners and variation selectors.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_FULL_WIDTH_OFFSET = 0xFEE0

_SEPARATORS = re.compile(r"[\s\-.:/_,]+")
_WHOLE = re.compile(r"([0-9]+)[.,]0+")
_BROKEN = re.compile(r"[0-9]+[.,][0-9]{1,3}")
_SCIENTIFIC = re.compile(r"([0-9])[.,]?([0-9]*)[eE]\+?([0-9]{1,3})")
_FORMULA = re.compile(r"=\s*([\"\u201c].*[\"\u201d])")


class Written(NamedTuple):
    """What is left of an identifier as it was written.

    Attributes:
        text: Visible characters in ASCII where they have an equal there, separators included.
        is_number: A program has taken it for a number, so that leading zeros may be lost.
    """

    text: str
    is_number: bool = False


def to_written(value: object) -> Written | None:
    """Read a text or number that may hold an identifier; None when it certainly holds none."""
    match value:
        case str():
            return _from_text(value) if len(value) <= LONGEST else None
        case bool():
            return None
        case int():
            return Written(str(value), is_number=True) if 0 <= value < _LARGEST_NUMBER else None
        case float():
            is_exact = 0 < value < _EXACT_IN_A_FLOAT and value.is_integer() and value % _ROUNDED != 0
            return Written(str(int(value)), is_number=True) if is_exact else None
    return None


def _from_text(text: str) -> Written | None:
    found = unwrapped(text)
    if whole := _WHOLE.fullmatch(found):
        return Written(whole[1], is_number=True)
    if not found.isalnum() and (scientific := _SCIENTIFIC.fullmatch(found)):
        first, rest, exponent = scientific.groups()
        # Only where every digit is written out is it known which number was meant.
        return Written(first + rest, is_number=True) if len(rest) == int(exponent) else None
    return None if _BROKEN.fullmatch(found) or not found else Written(found)


def unwrapped(text: str) -> str:
    """Remove white space, quotes, brackets and spreadsheets' marks for text from both ends, and what cannot be seen."""
    found = visible(text).strip()
    if formula := _FORMULA.fullmatch(found):
        found = formula[1]
    return found.strip(_AROUND)


def visible(text: str) -> str:
    """Write digits, letters, dashes and spaces of any script in ASCII, and leave out what cannot be seen."""
    return text if text.isascii() else "".join(map(_to_ascii, text))


@lru_cache(maxsize=4096)
def _to_ascii(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf" or character in _FILLERS:
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character in _DASHES:
        return "-"
    if ord(character) in _FULL_WIDTH:
        return chr(ord(character) - _FULL_WIDTH_OFFSET)
    return " " if character.isspace() else character


def without_separators(text: str) -> str:
    """Leave out what stands between groups of digits."""
    return _SEPARATORS.sub("", text)
