"""One reading of every kind of identifier, however it is written.

Requests, query parameters, paths, callbacks, answers, erasure and the command line all read identifiers here, so that
one device has one key. A function returns the canonical form, or None where the text is not with certainty such an
identifier; none of them raises, and what they return reads to itself. The canonical forms are:

* IMEI: 15 digits. 14 digits lack the check digit, and 16 (IMEISV) have a software version in its place: both are
  completed. A wrong check digit is kept as it is, and such a number equals no other.
* MEID: 14 hexadecimal digits in upper case; 18 decimal ones and a check digit are converted.
* ESN: 8 hexadecimal digits in upper case; 11 decimal ones are converted where they can be.
* MDN: 10 digits; the country code 1 is dropped, and numbers with another one are no MDNs.
* Account, device name and transaction id: as written, without what surrounds them unseen.
"""

from app.identifiers.hardware import esn, hardware_id, imei, meid
from app.identifiers.names import account, device_name, transaction_id
from app.identifiers.phone import is_foreign, mdn, phone_number
from app.identifiers.unspecified import Readings, canonical_patterns, readings

__all__ = [
    "Readings",
    "account",
    "canonical_patterns",
    "device_name",
    "esn",
    "hardware_id",
    "imei",
    "is_foreign",
    "mdn",
    "meid",
    "phone_number",
    "readings",
    "transaction_id",
]
