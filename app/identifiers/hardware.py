"""Identifiers of the hardware: IMEI, MEID and ESN."""

import re
from collections.abc import Callable

from app.identifiers.spelling import to_written, without_separators
from app.model import DeviceIdKind

_IMEI = re.compile(r"(urn:)?(?:[a-z0-9]+:)?imei(?:sv|[12](?=\s*[:=#]))?\s*[:=#]?", re.IGNORECASE)
_MEID = re.compile(r"(?:urn:)?(?:[a-z0-9-]+:)?meid\s*[:=#]?", re.IGNORECASE)
_ESN = re.compile(r"(?:urn:)?(?:[a-z0-9-]+:)?p?esn\s*[:=#]?", re.IGNORECASE)
_SOFTWARE_VERSION = re.compile(r"\s*(?:;svn=|/)\s*[0-9]{2}", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"(?:0x)?([0-9A-F]+)", re.IGNORECASE)

_BODY = 14
_IMEI_DIGITS = 15
_IMEISV_DIGITS = 16
_MEID_DIGITS = 14
_DECIMAL_MEID_DIGITS = 18
_ESN_DIGITS = 8
_DECIMAL_ESN_DIGITS = 11
_SERIAL_DECIMALS = 8
_SERIAL_BITS = 24
_DECIMAL = 10
_HEX = 16
_DOUBLED = str.maketrans("0123456789", "0246813579")
_DOUBLED_HEX = str.maketrans("0123456789ABCDEFabcdef", "02468ACE13579BDF579BDF")


def imei(value: object) -> str | None:
    """Read an IMEI as 15 digits; 14 and 16 of one device read to the same, by the check digit that they lack."""
    if isinstance(value, str) and len(value) == _IMEI_DIGITS and _is_decimal(value):
        return value
    written = to_written(value)
    if written is None:
        return None
    prefix = _IMEI.match(written.text)
    text = written.text[prefix.end() :] if prefix else written.text
    digits = without_separators(_without_software_version(text))
    if not _is_decimal(digits):
        return None
    if prefix and prefix[1] and len(digits) == _IMEI_DIGITS and digits.endswith("0"):
        # A URN has a spare digit, zero, in place of the check digit (RFC 7254, section 3).
        digits = digits[:_BODY]
    if len(digits) == _IMEI_DIGITS:
        return digits
    # Fourteen digits that were taken for a number may be fifteen that have lost a zero.
    if len(digits) == _IMEISV_DIGITS or (len(digits) == _BODY and not written.is_number):
        return digits[:_BODY] + check_digit(digits[:_BODY])
    return None


def _without_software_version(text: str) -> str:
    shorter = _SOFTWARE_VERSION.sub("", text) if ";" in text or "/" in text else text
    # What looks like a software version may as well be the last two digits.
    return shorter if len(without_separators(shorter)) >= _IMEI_DIGITS else text


def meid(value: object) -> str | None:
    """Read a MEID as 14 hexadecimal digits in upper case."""
    found = _digits(value, _MEID)
    if found is None:
        return None
    digits, is_number = found
    if len(digits) == _MEID_DIGITS:
        # Every MEID without letters begins with 99; another number is something else that has lost zeros.
        return digits if digits.startswith("99") or not is_number else None
    if len(digits) == _MEID_DIGITS + 1 and digits[-1] == check_digit(digits[:-1]):
        return digits[:-1]
    if len(digits) == _DECIMAL_MEID_DIGITS:
        return _from_decimal(digits, _MEID_DIGITS)
    return None


def esn(value: object) -> str | None:
    """Read an ESN as 8 hexadecimal digits in upper case; 11 decimal ones that are none in hexadecimal stay."""
    found = _digits(value, _ESN)
    if found is None:
        return None
    digits, is_number = found
    if len(digits) == _ESN_DIGITS and not is_number:
        return digits
    if len(digits) == _DECIMAL_ESN_DIGITS and _is_decimal(digits):
        return _from_decimal(digits, _ESN_DIGITS) or digits
    return None


def _digits(value: object, prefix: re.Pattern[str]) -> tuple[str, bool] | None:
    written = to_written(value)
    if written is None:
        return None
    found = _HEXADECIMAL.fullmatch(without_separators(prefix.sub("", written.text, count=1)))
    return (found[1].upper(), written.is_number) if found else None


def _from_decimal(digits: str, width: int) -> str | None:
    """Convert a decimal MEID or ESN: the manufacturer's part, and eight digits that make 24 bits."""
    if not _is_decimal(digits):
        return None
    manufacturer, serial = int(digits[:-_SERIAL_DECIMALS]), int(digits[-_SERIAL_DECIMALS:])
    number = manufacturer << _SERIAL_BITS | serial
    return f"{number:0{width}X}" if serial < 1 << _SERIAL_BITS and number < _HEX**width else None


def check_digit(body: str) -> str:
    """Work out the check digit of an IMEI, or of a MEID: in decimal where all digits are, else in hexadecimal."""
    base, doubled = (_DECIMAL, _DOUBLED) if _is_decimal(body) else (_HEX, _DOUBLED_HEX)
    # Every second digit, the last one first, counts as the sum of the digits of its double.
    total = sum([int(digit, base) for digit in body[-2::-2] + body[::-2].translate(doubled)])
    return f"{-total % base:X}"


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.isdecimal()


READERS: dict[DeviceIdKind, Callable[[object], str | None]] = {"imei": imei, "meid": meid, "esn": esn}
"""What reads each kind, in the order in which the shape decides between them."""


def hardware_id(value: object, kind: DeviceIdKind | None = None) -> tuple[DeviceIdKind, str] | None:
    """Read an identifier of a kind; without one, of the first kind whose shape it has."""
    kinds = READERS if kind is None else (kind,)
    return next(((one, found) for one in kinds if (found := READERS[one](value)) is not None), None)
