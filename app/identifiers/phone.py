"""The number of a device: MDN, E.164, and how people write them."""

import re

from app.identifiers.spelling import to_written, without_separators

_PREFIX = re.compile(r"(?:(?:tel|phone|callto|sms|mdn|msisdn|min)\s*[:=#]?|sips?:)\s*", re.IGNORECASE)
_HOST = re.compile(r"@[^@]*")
_PARAMETERS = re.compile(r"(?:;(?:user=phone|phone-context=\+1))+", re.IGNORECASE)
_PARENTHESES = str.maketrans("", "", "()")
_NUMBER = re.compile(r"(?:(?:\+|00|011)?1)?([0-9]{10})")
_INTERNATIONAL = re.compile(r"(?:\+|00|011)(?!1)[1-9][0-9]{6,13}")
_MDN_DIGITS = 10


def mdn(value: object) -> str | None:
    """Read a mobile directory number as 10 digits, without the country code 1."""
    if isinstance(value, str) and len(value) == _MDN_DIGITS and value.isascii() and value.isdecimal():
        return value
    found = _NUMBER.fullmatch(_dialled(value))
    return found[1] if found else None


def phone_number(value: object) -> str | None:
    """Read a number that is written with its country code as an MDN."""
    return None if len(_dialled(value)) == _MDN_DIGITS else mdn(value)


def is_foreign(value: object) -> bool:
    """Return whether this is a number of another country code than 1, which no MDN has."""
    return mdn(value) is None and _INTERNATIONAL.fullmatch(_dialled(value)) is not None


def _dialled(value: object) -> str:
    """Leave what would be dialled; empty where there is nothing to dial."""
    written = to_written(value)
    if written is None:
        return ""
    text = written.text
    if prefix := _PREFIX.match(text):
        text = _PARAMETERS.sub("", _HOST.sub("", text[prefix.end() :]))
    return without_separators(text.translate(_PARENTHESES))
