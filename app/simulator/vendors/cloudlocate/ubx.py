"""What CloudLocate accepts as a GNSS measurement: UBX frames, or one bare payload known by its length."""

import base64
import binascii
from dataclasses import dataclass

from app.simulator.vendors.cloudlocate.refusal import CloudLocateRefused
from app.simulator.world.gnss import checksum

MEASX, MEAS50, MEAS20, MEASC12 = 0x14, 0x86, 0x84, 0x82
ACCURACY_M = {MEASX: 10.0, MEAS50: 10.0, MEAS20: 25.0, MEASC12: 35.0}

_COMPACT_LENGTHS = {MEAS50: 50, MEAS20: 20, MEASC12: 12}
_BARE = {length: message for message, length in _COMPACT_LENGTHS.items()}
_SYNC, _RXM = b"\xb5\x62", 0x02
_HEADER, _TRAILER = 6, 2
_MEASX_HEAD, _MEASX_PER_SATELLITE, _MEASX_SATELLITES_AT = 44, 24, 34


@dataclass(frozen=True, slots=True)
class Measurement:
    """One message of class RXM."""

    message: int
    payload: bytes

    @property
    def has_satellites(self) -> bool:
        """Say whether anything was tracked: an empty compact message and a MEASX of no satellites say no."""
        return len(self.payload) > _MEASX_HEAD if self.message == MEASX else bool(self.payload)


def decode_base64(text: str | bytes) -> bytes:
    """Decode the standard, padded alphabet and nothing else."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CloudLocateRefused(400, "Payload is not valid base64") from error


def decode_text(text: bytes) -> bytes:
    """Decode a text/plain body: hexadecimal where it can be that, else base64."""
    text = text.strip()
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return decode_base64(text)


def measurements(data: bytes, *, strict_checksum: bool) -> list[Measurement]:
    """Walk the frames from end to end.

    Raises:
        Refused: The data are neither frames of known messages nor a bare payload.
    """
    if not data.startswith(_SYNC):
        message = _BARE.get(len(data))
        if message is None:
            raise CloudLocateRefused(400, "Payload is not a UBX message")
        return [Measurement(message, data)]
    found = []
    at = 0
    while at < len(data):
        found.append(_frame(data, at, strict_checksum=strict_checksum))
        at += _HEADER + len(found[-1].payload) + _TRAILER
    return found


def _frame(data: bytes, at: int, *, strict_checksum: bool) -> Measurement:
    head = data[at : at + _HEADER]
    if len(head) < _HEADER or not head.startswith(_SYNC):
        raise CloudLocateRefused(400, "Payload has bytes outside of UBX messages")
    end = at + _HEADER + int.from_bytes(head[4:], "little")
    if end + _TRAILER > len(data):
        raise CloudLocateRefused(400, "Payload ends within a UBX message")
    if strict_checksum and data[end : end + _TRAILER] != checksum(data[at + 2 : end]):
        raise CloudLocateRefused(400, "UBX checksum is wrong")
    found = Measurement(head[3], data[at + _HEADER : end])
    if head[2] != _RXM or not _fits(found):
        raise CloudLocateRefused(400, "UBX message is not supported or has a wrong length")
    return found


def _fits(found: Measurement) -> bool:
    length = len(found.payload)
    if found.message == MEASX:
        return (
            length >= _MEASX_HEAD and length == _MEASX_HEAD + _MEASX_PER_SATELLITE * found.payload[_MEASX_SATELLITES_AT]
        )
    return found.message in _COMPACT_LENGTHS and length in (0, _COMPACT_LENGTHS[found.message])
