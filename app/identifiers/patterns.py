"""Patterns that allow devices: `*` for any characters, `?` for one."""

import re
from collections.abc import Iterable

from app.identifiers.spelling import unwrapped, without_separators
from app.identifiers.unspecified import readings

_WILDCARDS = "*?"
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f*?]+")
_COUNTRY_CODE = re.compile(r"\+1(?=[0-9?*])")
_FEWEST_KNOWN = 6
"""Digits that a pattern must show to be one of identifiers, and not of names."""


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
