"""Reads ThingSpace's callbacks (reference, sections 9 and 12)."""

from datetime import UTC, datetime

from app import identifiers
from app.errors import MalformedJson, UnexpectedReply
from app.model import AccountName, Headers, Report, ReportType, SimpleFix, TransactionId
from app.provider import SignatureMode
from app.providers.thingspace import reading, wire
from app.providers.thingspace.credentials import without_credentials
from app.providers.thingspace.reports import Envelope, to_reports
from app.providers.thingspace.settings import ThingSpaceSettings, secret_text
from app.providers.thingspace.signature import is_signed_with, signature_of
from app.providers.thingspace.simple_fix import to_simple_fix

_TYPES: dict[str, ReportType] = {
    "LOCATION_REPORT": "location",
    "STOP_PERIODIC_LOCATION_RESPONSE": "stopped",
    "CONSENT_RESPONSE": "consent",
}
_MOST_DEVICES = 50_000
"""Five times what one transaction of ThingSpace's can hold."""
_ABOUT_A_DEVICE = frozenset({"id", "deviceid", "deviceids", "mdn", "msid", "pd", "positiondata", "error"})


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
