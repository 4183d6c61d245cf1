"""ThingSpace's callbacks: what they report (reference, sections 9 and 12), and whether it sent them (section 8.1)."""

import binascii
import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Literal

from app import identifiers
from app.errors import MalformedJson, UnexpectedReply
from app.model import AccountName, Headers, Report, ReportType, SimpleFix, TransactionId
from app.provider import SignatureMode
from app.providers.thingspace import reading, wire
from app.providers.thingspace.reports import Envelope, to_reports
from app.providers.thingspace.settings import ThingSpaceSettings, secret_text
from app.providers.thingspace.simple_fix import to_simple_fix

_TYPES: dict[str, ReportType] = {
    "LOCATION_REPORT": "location",
    "STOP_PERIODIC_LOCATION_RESPONSE": "stopped",
    "CONSENT_RESPONSE": "consent",
}
_MOST_DEVICES = 50_000
"""Five times what one transaction of ThingSpace's can hold."""
_ABOUT_A_DEVICE = frozenset({"id", "deviceid", "deviceids", "mdn", "msid", "pd", "positiondata", "error"})
_SIGNATURE_PREFIX = "sha256="
_CREDENTIALS = ("username", "password")
_BLOT = b'"***"'
_STRING = rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)'
# Possessive, because what does not match must not be tried again in parts: that takes the square of the time.
_TEXT = re.compile(_STRING, re.DOTALL)
_TEXT_OR_BRACKET = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_COLON = re.compile(rb"\s*+:\s*+")
_SCALAR = re.compile(rb"[^\s,}\]]*+")

Encoding = Literal["hex", "base64"]


class ThingSpaceCallbacks:
    """Makes reports of callbacks, and checks their signatures.

    Attributes:
        signature_mode: What a missing or wrong signature leads to: nothing, a line in the log, or a refusal.
        fixed_token: The callback token of a listener that was registered by hand; None without one.
        fixed_secret: The shared secret of that listener; None where it is not known.
    """

    def __init__(self, settings: ThingSpaceSettings) -> None:
        self.signature_mode: SignatureMode = settings.callback_signature
        self.fixed_token = secret_text(settings.callback_token) or None
        self.fixed_secret = secret_text(settings.callback_secret) or None
        self._signature_header = settings.callback_signature_header.lower()
        self._encoding = settings.callback_signature_encoding

    def is_authentic(self, body: bytes, headers: Headers, secret: str) -> bool | None:
        """Check the signature over the raw bytes in constant time; None when there is none."""
        signature = headers.get(self._signature_header)
        return is_signed_with(secret, body, signature, self._encoding) if signature else None

    def redacted(self, body: bytes) -> bytes:
        """Blot out `username` and `password`, which Verizon may send back in clear (reference, section 8.1)."""
        return without_credentials(body)

    def sign(self, body: bytes, secret: str) -> Headers:
        """Make the header that ThingSpace would sign this body with, as far as the settings know."""
        return {self._signature_header: signature_of(secret, body, self._encoding)}

    def test_message(self, account: AccountName, transaction_id: TransactionId) -> bytes:
        """Make a message of a type that ThingSpace does not have, about no device."""
        return wire.to_json(
            {
                "accountName": account,
                "deviceList": [],
                "reportType": "LISTENER_TEST",
                "status": "SUCCESS",
                "transactionID": transaction_id,
            }
        )

    def read_simple_fix(self, body: bytes) -> SimpleFix | None:
        """Decode a callback that is a simple fix; return None for any other."""
        return to_simple_fix(body)

    def read(self, body: bytes) -> list[Report]:
        """Make one report per device; a message without devices makes one as well.

        Raises:
            MalformedJson: The body is no JSON object.
            UnexpectedReply: It is nested too deeply to be read, or lists too many devices.
        """
        message = reading.decode(body)
        if not isinstance(message, dict):
            raise MalformedJson("The body is no JSON object.")
        found = reading.members(message)
        entries = _entries_in(found)
        if len(entries) > _MOST_DEVICES:
            raise UnexpectedReply(f"The message lists more than {_MOST_DEVICES} devices.")
        return to_reports(_to_envelope(found, entries), entries, message, body, now=datetime.now(UTC))


def _to_envelope(found: dict[str, object], entries: list[wire.DeviceReply]) -> Envelope:
    kind = reading.text(found.get("reporttype")) or ""
    return Envelope(
        type=_TYPES.get(kind.upper(), "other") if kind else _type_of(entries),
        kind=kind,
        status=(reading.text(found.get("status")) or "").upper(),
        account=identifiers.account(reading.text(reading.first(found, "accountname", "account")) or ""),
        transaction_id=identifiers.transaction_id(reading.text(reading.first(found, "transactionid", "txid")) or ""),
    )


def _entries_in(found: dict[str, object]) -> list[wire.DeviceReply]:
    """Find the devices: in the list, in one object instead of it, or in the message itself."""
    listed = reading.first(found, "devicelist", "devlocationlist")
    elements = listed if isinstance(listed, list) else [listed]
    entries = [wire.to_entry(element) for element in map(_as_object, elements) if element]
    if entries:
        return entries
    return [wire.to_entry(found) if found.keys() & _ABOUT_A_DEVICE else wire.DeviceReply()]


def _as_object(element: object) -> object:
    # Elsewhere Verizon lists devices by bare ids.
    return {"id": element} if isinstance(element, str) else element


def _type_of(entries: list[wire.DeviceReply]) -> ReportType:
    """Old-style bodies name no report type; what carries a position or an error is a position report."""
    return "location" if any(entry.position or entry.error for entry in entries) else "other"


def is_signed_with(secret: str, body: bytes, signature: str, encoding: Encoding) -> bool:
    """Compare an HMAC-SHA256 over the raw bytes in constant time; a signature that cannot be read is a wrong one."""
    expected = hmac.digest(secret.encode(), body, hashlib.sha256)
    return hmac.compare_digest(expected, _decoded(signature.strip(), encoding))


def signature_of(secret: str, body: bytes, encoding: Encoding) -> str:
    """Sign as ThingSpace would."""
    signature = hmac.digest(secret.encode(), body, hashlib.sha256)
    return signature.hex() if encoding == "hex" else b64encode(signature).decode()


def _decoded(signature: str, encoding: Encoding) -> bytes:
    if signature[: len(_SIGNATURE_PREFIX)].lower() == _SIGNATURE_PREFIX:
        signature = signature[len(_SIGNATURE_PREFIX) :]
    try:
        return bytes.fromhex(signature) if encoding == "hex" else b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return b""


def without_credentials(body: bytes) -> bytes:
    """Replace the values of `username` and `password` at any depth, however names and values are written.

    Verizon may send them back in clear (reference, section 8.1). Bodies that are not JSON are stored as well, so this
    does not decode the body; everything else stays byte for byte as it came.
    """
    lowered = body.lower()
    if not (b"username" in lowered or b"password" in lowered or b"\\u" in lowered):
        return body
    kept: list[bytes] = []
    copied = position = 0
    while text := _TEXT.search(body, position):
        position = text.end()
        colon = _COLON.match(body, position)
        if colon is not None and _is_credential(text[0]):
            kept += body[copied : colon.end()], _BLOT
            copied = position = _end_of_value(body, colon.end())
    return b"".join((*kept, body[copied:]))


def _is_credential(name: bytes) -> bool:
    written = name.decode("utf-8", "replace")
    try:
        decoded = json.loads(written, strict=False) if "\\" in written else written.strip('"')
    except ValueError:
        return False
    return decoded.strip().lower() in _CREDENTIALS


def _end_of_value(body: bytes, start: int) -> int:
    if body[start : start + 1] in (b"{", b"["):
        return _end_of_nested(body, start)
    value = _TEXT.match(body, start) or _SCALAR.match(body, start)
    return value.end() if value else start


def _end_of_nested(body: bytes, start: int) -> int:
    depth = 0
    for part in _TEXT_OR_BRACKET.finditer(body, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    return len(body)
