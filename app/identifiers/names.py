"""Identifiers that are words: accounts, transaction ids, and callers' own names for devices."""

import unicodedata

from app.identifiers.spelling import visible

_LONGEST = 1024
"""Longer texts name nothing; they are left as they are, and refused or cut by those who ask."""


def account(written: str) -> str:
    """Read an account name; copied dashes and digits of other scripts are those of ASCII."""
    return visible(written).strip() if len(written) <= _LONGEST else written


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
