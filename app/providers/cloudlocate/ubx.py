"""UBX framing: what can be checked of a raw measurement before a call is paid for.

Layout and lengths as in the u-blox M10 interface description (UBX-21035062); the content of the compact
messages is not published, so they are opaque here.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

SYNC = b"\xb5\x62"

MEASX = 0x0214
MEASD12 = 0x0280
MEASC12 = 0x0282
MEAS20 = 0x0284
MEAS50 = 0x0286
NAV_PVT = 0x0107
INI_POS = 0x1340

COMPACT_LENGTHS = {MEASD12: 12, MEASC12: 12, MEAS20: 20, MEAS50: 50}
_OTHER_LENGTHS = {NAV_PVT: 92, INI_POS: 20}
_BARE = {20: MEAS20, 50: MEAS50}
_AMBIGUOUS_LENGTH = 12

_HEADER = 6
_OVERHEAD = 8

_MEASX_HEADER = 44
_MEASX_SATELLITE = 24
_NUM_SV = 34
_FLAGS = 35
_TOW_SET = 0b11
_CNO = 2


class MalformedUbx(ValueError):
    """The bytes are no whole UBX messages.

    Attributes:
        code: Stable, upper case.
        detail: What is wrong, as the caller is shown it.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One UBX message.

    Attributes:
        identity: Class and id as one number, e.g. 0x0286.
        trailer: The checksum that came with it; None for a payload that came without header and checksum.
    """

    identity: int
    payload: bytes
    trailer: bytes | None = None

    @property
    def is_compact(self) -> bool:
        """Whether it is one of the messages whose content is not published."""
        return self.identity in COMPACT_LENGTHS

    @property
    def is_sound(self) -> bool:
        """Whether the checksum that came with it is right; true where none came."""
        return self.trailer is None or self.trailer == checksum(_span(self))


def checksum(span: bytes) -> bytes:
    """Compute the 8-bit Fletcher sums over class, id, length and payload."""
    return bytes((sum(span) & 0xFF, sum(accumulate(span)) & 0xFF))


def to_bytes(frame: Frame) -> bytes:
    """Write a frame with its header and the right checksum."""
    span = _span(frame)
    return SYNC + span + checksum(span)


def as_it_came(frame: Frame) -> bytes:
    """Write a frame with the checksum that came with it, or a bare payload."""
    return frame.payload if frame.trailer is None else SYNC + _span(frame) + frame.trailer


def repair(frame: Frame) -> Frame:
    """Put the checksum right."""
    return replace(frame, trailer=checksum(_span(frame)))


def _span(frame: Frame) -> bytes:
    """Write what the checksum is made of: class, id, length and payload."""
    return frame.identity.to_bytes(2, "big") + len(frame.payload).to_bytes(2, "little") + frame.payload


def is_framed(data: bytes) -> bool:
    """Return whether the bytes start like a frame, rather than being a payload alone."""
    return data.startswith(SYNC)


def read(data: bytes) -> list[Frame]:
    """Read frames to the last byte, or one bare payload that its length identifies.

    Raises:
        MalformedUbx: Something is cut off or left over, or a length does not fit its message.
    """
    frames = _walk(data) if is_framed(data) else [_bare(data)]
    for frame in frames:
        _check_length(frame)
    return frames


def _walk(data: bytes) -> list[Frame]:
    frames = []
    start = 0
    while start < len(data):
        if not data.startswith(SYNC, start):
            raise MalformedUbx("LEFTOVER_BYTES", "Bytes follow the last UBX frame that are no frame.")
        end = start + _OVERHEAD + int.from_bytes(data[start + 4 : start + _HEADER], "little")
        if end > len(data):
            raise MalformedUbx("TRUNCATED", "A UBX frame is shorter than its header states; send it whole.")
        identity = int.from_bytes(data[start + 2 : start + 4], "big")
        frames.append(Frame(identity=identity, payload=data[start + _HEADER : end - 2], trailer=data[end - 2 : end]))
        start = end
    return frames


def _bare(data: bytes) -> Frame:
    if len(data) == _AMBIGUOUS_LENGTH:
        raise MalformedUbx(
            "AMBIGUOUS", "A bare payload of 12 bytes may be MEASC12 or MEASD12; send the whole UBX frame."
        )
    if len(data) not in _BARE:
        raise MalformedUbx(
            "INVALID_FORMAT", "Neither a UBX frame, which starts with B5 62, nor a bare payload of 20 or 50 bytes."
        )
    return Frame(identity=_BARE[len(data)], payload=data)


def _check_length(frame: Frame) -> None:
    length = len(frame.payload)
    if frame.identity == MEASX:
        if length < _MEASX_HEADER or length != _MEASX_HEADER + _MEASX_SATELLITE * frame.payload[_NUM_SV]:
            raise MalformedUbx("INVALID_LENGTH", "The length of a MEASX message does not fit its satellite count.")
        return
    # A compact message without payload is well formed: the receiver had tracked nothing yet.
    expected = COMPACT_LENGTHS.get(frame.identity, _OTHER_LENGTHS.get(frame.identity, length))
    if length != expected and not (length == 0 and frame.identity in COMPACT_LENGTHS):
        raise MalformedUbx("INVALID_LENGTH", f"This UBX message has to carry {expected} bytes.")


def has_satellites(frame: Frame) -> bool:
    """Return whether the message may hold a measurement at all."""
    return frame.payload[_NUM_SV] > 0 if frame.identity == MEASX else bool(frame.payload)


def carries_time(frame: Frame) -> bool:
    """Return whether the message itself holds the time of the measurement; the compact ones never do."""
    if frame.identity == MEASX:
        return bool(frame.payload[_FLAGS] & _TOW_SET)
    return frame.identity == NAV_PVT


def strong_satellites(frame: Frame, *, least_dbhz: int) -> int:
    """Count the satellites of a MEASX message whose C/N0 is at least `least_dbhz`."""
    return sum(cno >= least_dbhz for cno in frame.payload[_MEASX_HEADER + _CNO :: _MEASX_SATELLITE])
