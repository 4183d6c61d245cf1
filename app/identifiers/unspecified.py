"""Identifiers of which it is not said what they are, as in paths."""

from typing import NamedTuple

from app.identifiers.hardware import READERS
from app.identifiers.names import device_name
from app.identifiers.phone import mdn


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
    found = (read(written) for read in READERS.values())
    ids = tuple(dict.fromkeys(one for one in found if one is not None))
    return Readings(ids=ids, mdn=mdn(written), name=device_name(written))
