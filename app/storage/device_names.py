"""The names of a device in raw callbacks, and removing from callbacks whatever is about it. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from app.identifiers import readings

_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Za-z]+")
BODY_OF_IMEI = 14
"""Digits that an IMEI has in every form: without its check digit, and with a software version, too."""
_DECIMAL_FORMS = (11, 18)
"""Digits of an ESN and of a MEID in decimal, which hold nothing of the hexadecimal ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of a device in what providers send.

    Attributes:
        ids: Its identifiers; what states one of them is about it.
        numbers: Its numbers; what states one of them is about it, unless it states one of `others` and none of `ids`.
        others: Devices that have had one of its numbers.
    """

    ids: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Identifiers and numbers."""
        return self.ids + self.numbers


def without(body: bytes, names: Names) -> bytes | None:
    """Remove from a raw callback whatever is about a device, by its names; None when nothing worth keeping is left.

    Elements of lists that name it go, as long as their list has others; a body that names it outside of such a list,
    or that is no JSON, goes as a whole. A body that does not name it stays as it is, byte for byte.
    """
    search = _Search(names)
    try:
        value = orjson.loads(body)
        if not search.finds_device_in(value):
            return body
        left = _pruned(value, search)
        return None if search.finds_device_in(left) else orjson.dumps(left)
    except (ValueError, TypeError, RecursionError):
        return None if search.finds_device_in(body.decode("latin-1")) else body


class _Search:
    """Finds the names of a device in decoded JSON."""

    def __init__(self, names: Names) -> None:
        self._ids, self._numbers, self._others = map(_Texts, (names.ids, names.numbers, names.others))

    def finds_device_in(self, value: Any) -> bool:
        """Return whether a value is about the device."""
        if self._ids.stand_in(value):
            return True
        return self._numbers.stand_in(value) and not self._others.stand_in(value)


class _Texts:
    """Identifiers or numbers, to be found in whatever spelling."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._beginnings = frozenset(name[:BODY_OF_IMEI] for name in self._names)
        one_of = "|".join(map(re.escape, self._names))
        self._found = re.compile(rf"(?<![0-9A-Za-z])(?:\+?1)?(?:{one_of})(?![0-9A-Za-z])", re.IGNORECASE).search

    def stand_in(self, value: Any) -> bool:
        """Return whether a value holds one of them."""
        if not self._names:
            return False
        match value:
            case dict():
                return any(self._is_in_text(key) or self.stand_in(member) for key, member in value.items())
            case list():
                return any(map(self.stand_in, value))
            case bool() | None:
                return False
        return self._is_in_text(str(value))

    def _is_in_text(self, text: str) -> bool:
        if self._found(text) is not None:
            return True
        if not self._may_be_in(text):
            return False
        known = readings(text)
        return known.mdn in self._names or not self._names.isdisjoint(known.ids)

    def _may_be_in(self, text: str) -> bool:
        """Return quickly whether a text may hold a name: a callback may have a hundred thousand texts."""
        if not text.isascii():
            return True
        plain = _NOT_ALPHANUMERIC.sub("", text).upper()
        is_decimal_form = len(plain) in _DECIMAL_FORMS and plain.isdecimal()
        return is_decimal_form or any(beginning in plain for beginning in self._beginnings)


def _pruned(value: Any, search: _Search) -> Any:
    match value:
        case dict():
            return {key: _pruned(member, search) for key, member in value.items()}
        case list():
            return [element for element in value if not search.finds_device_in(element)] or value
    return value
