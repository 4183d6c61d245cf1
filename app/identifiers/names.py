"""Identifiers that are words: accounts, transaction ids, and callers' own names for devices."""

import re
import unicodedata

from app.identifiers.spelling import unwrapped, visible

_LONGEST = 1024
"""Longer texts name nothing; they are left as they are, and refused or cut by those who ask."""
_TEN_AND_FIVE = re.compile(r"([0-9]{10})[\s\-.:/_]+([0-9]{5})")


def account(written: str) -> str:
    """Read an account name; one of ten and five digits has a hyphen between them (reference, section 3.1)."""
    if len(written) > _LONGEST:
        return written
    found = unwrapped(written)
    parted = _TEN_AND_FIVE.fullmatch(found)
    return f"{parted[1]}-{parted[2]}" if parted else found


def transaction_id(written: str) -> str:
    """Read a provider's transaction id, which is opaque, and may come with a blank behind it."""
    return _trimmed(written)


def device_name(written: str) -> str:
    """Read a caller's own name for a device, in the composed form of Unicode."""
    return _trimmed(unicodedata.normalize("NFC", written) if len(written) <= _LONGEST else written)


def _trimmed(written: str) -> str:
    """Remove white space and invisible characters from both ends; within, they may belong to the script."""
    if len(written) > _LONGEST:
        return written
    begin, end = 0, len(written)
    while begin < end and _is_unseen(written[begin]):
        begin += 1
    while begin < end and _is_unseen(written[end - 1]):
        end -= 1
    return written[begin:end]


def _is_unseen(character: str) -> bool:
    return not visible(character).strip()
