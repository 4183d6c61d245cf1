"""The device of a ThingSpace message (reference, section 3.2); pure."""

from typing import NamedTuple

from app import identifiers
from app.model import AccountName, Device, DeviceIdKind, Mdn
from app.plausibility import IDENTIFIER_UNREADABLE
from app.providers.thingspace import reading
from app.providers.thingspace.wire import DeviceReply, Scalar

_KINDS: dict[str, DeviceIdKind] = {"imei": "imei", "imeisv": "imei", "meid": "meid", "esn": "esn"}
_KINDS_OF_NUMBERS = ("mdn", "msisdn")


class NamedDevice(NamedTuple):
    """A device as a message names it.

    Attributes:
        device: Its identifiers, as far as they can be read.
        known_as: What distinguishes it from the others, readable or not; None where it has no identifier at all.
        flags: `identifier_unreadable` where an identifier is there and cannot be one.
    """

    device: Device
    known_as: str | None
    flags: tuple[str, ...] = ()


def to_named_device(entry: DeviceReply, account: str | None) -> NamedDevice:
    """Read who an entry is about; what cannot be an identifier is left out, and flagged."""
    stated = (reading.text(entry.kind) or "").lower()
    id_, mdn = entry.id, entry.mdn
    if stated in _KINDS_OF_NUMBERS and mdn is None:
        id_, mdn = None, id_
    hardware = _to_hardware(id_, stated)
    number = identifiers.mdn(mdn)
    if number is not None and not number.strip("0"):
        number = None
    written_id, written_mdn = reading.text(id_), reading.text(mdn)
    is_unreadable = (hardware is None and written_id is not None) or (number is None and written_mdn is not None)
    kind, found = hardware or (None, None)
    device = Device(
        id=found, kind=kind, mdn=Mdn(number) if number else None, account=AccountName(account) if account else None
    )
    return NamedDevice(
        device=device,
        known_as=found or written_id or number or written_mdn,
        flags=(IDENTIFIER_UNREADABLE,) if is_unreadable else (),
    )


def _to_hardware(id_: Scalar, stated: str) -> tuple[DeviceIdKind, str] | None:
    """Read an id of the kind that is stated, else of that whose shape it has; zeros alone stand for none."""
    if stated and stated not in _KINDS:
        return None
    found = identifiers.hardware_id(id_, _KINDS[stated] if stated else None)
    return found if found is not None and found[1].strip("0") else None
