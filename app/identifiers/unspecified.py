"""Identifiers of which it is not said what they are, as in paths."""

from typing import NamedTuple

from app.identifiers.hardware import hardware_id, meid
from app.identifiers.names import device_name
from app.identifiers.phone import mdn
from app.identifiers.spelling import unwrapped


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
