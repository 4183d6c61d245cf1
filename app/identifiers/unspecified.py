"""Identifiers of an unstated kind, as in paths, and patterns of them: `*` for any characters, `?` for one."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from app.identifiers.hardware import hardware_id, meid
from app.identifiers.names import device_name
from app.identifiers.phone import mdn
from app.identifiers.spelling import unwrapped, without_separators

_WILDCARDS = "*?"
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f*?]+")
_COUNTRY_CODE = re.compile(r"\+1(?=[0-9?*])")
_FEWEST_KNOWN = 6
"""Digits that a pattern must show to be one of identifiers, and not of names."""


class Readings(NamedTuple):
    """All that a text can mean.

    Attributes:
        ids: As IMEI, MEID and ESN, in this order.
        mdn: As a number.
        name: As a caller's own name.
    """

    ids: tuple[str, ...]
    mdn: str | None
    name: str


def readings(written: str) -> Readings:
    """Read a text as every kind of identifier that it can be."""
    found = hardware_id(written)
    ids = () if found is None else (found[1],)
    # Fourteen digits are an IMEI without its check digit, or a MEID without letters.
    if found is not None and found[0] == "imei" and (same := meid(unwrapped(written))) == unwrapped(written):
        ids = (*ids, same)
    return Readings(ids=ids, mdn=mdn(written), name=device_name(written))


def canonical_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """Bring patterns to the canonical form of what they are written for; what may be a name stays beside it."""
    return tuple(dict.fromkeys(form for pattern in patterns for form in _canonical(pattern)))


def _canonical(pattern: str) -> Iterable[str]:
    if not any(wildcard in pattern for wildcard in _WILDCARDS):
        found = readings(pattern)
        return (found.mdn,) if found.mdn is not None else (pattern, *found.ids)
    form = _COUNTRY_CODE.sub("", without_separators(unwrapped(pattern)), count=1)
    known = [character for character in form if character not in _WILDCARDS]
    # Letters may be words; where digits prevail, they are hexadecimal.
    are_digits = sum(character.isdecimal() for character in known) * 2 > len(known)
    if len(known) >= _FEWEST_KNOWN and are_digits and _HEXADECIMAL.fullmatch(form):
        return (pattern, form.upper())
    return (pattern,)
