"""The reports of one callback, one for each of its devices; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.errors import DeviceNotOwned
from app.model import AccountName, Report, ReportError, ReportStatus, ReportType, TransactionId
from app.plausibility import ERROR_BESIDE_POSITION, GIVEN_UP, TIME_UNREADABLE
from app.providers.thingspace import reading
from app.providers.thingspace.content_key import ContentKeys
from app.providers.thingspace.devices import to_named_device
from app.providers.thingspace.mapping import LONGEST_IDENTIFIER, Sighting, says_why, to_report_error, to_sighting
from app.providers.thingspace.settings import NAME
from app.providers.thingspace.vendor_errors import is_final, to_device_error
from app.providers.thingspace.wire import DeviceReply

_CACHED = "0"
_NO_SIGHTING = Sighting()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a message states for all of its devices; texts are clean, and as long as they came.

    Attributes:
        kind: ThingSpace's own report type; empty where it names none.
        status: `SUCCESS`, `FAILED`, or another word.
    """

    type: ReportType
    kind: str = ""
    status: str = ""
    account: str = ""
    transaction_id: str = ""


def to_reports(
    envelope: Envelope, entries: Sequence[DeviceReply], message: object, body: bytes, *, now: datetime
) -> list[Report]:
    """Make one report per device; a device that is named twice with the same words counts once.

    Args:
        message: What the body holds, decoded.
    """
    keys = ContentKeys(message, body, (envelope.account, envelope.transaction_id, envelope.type))
    reports = (_to_report(envelope, entry, keys, place, now) for place, entry in enumerate(entries))
    return list({report.content_key: report for report in reports}.values())


def _to_report(envelope: Envelope, entry: DeviceReply, keys: ContentKeys, place: int, now: datetime) -> Report:
    sighting = _to_sighting(entry, now)
    error = to_report_error(entry.error)
    status = _to_status(envelope, sighting, error)
    said_at = sighting.said_at or (error.at if error else None)
    account = envelope.account[:LONGEST_IDENTIFIER] or None
    transaction_id = envelope.transaction_id[:LONGEST_IDENTIFIER]
    named = to_named_device(entry, account)
    # The members of other messages are not all known, and may distinguish one message from the next.
    content_key = keys.of_device(named.known_as, entry, sighting, said_at) if envelope.type == "location" else None
    return Report(
        provider=NAME,
        type=envelope.type,
        status=status,
        content_key=content_key or keys.of_place(place),
        account=AccountName(account) if account else None,
        transaction_id=TransactionId(transaction_id) if transaction_id else None,
        device=named.device,
        fix=sighting.fix,
        error=error,
        said_at=said_at,
        flags=(*_to_flags(envelope, entry, sighting, error), *named.flags),
        vendor_type=envelope.kind[:LONGEST_IDENTIFIER] or None,
        refuses_pair=error is not None and isinstance(to_device_error(error.type, error.info), DeviceNotOwned),
    )


def _to_sighting(entry: DeviceReply, now: datetime) -> Sighting:
    if entry.position is None:
        return _NO_SIGHTING
    location_type = entry.position.location_type
    if location_type is None:
        location_type = entry.location_type
    return to_sighting(entry.position, cached=reading.text(location_type) == _CACHED, now=now)


def _to_status(envelope: Envelope, sighting: Sighting, error: ReportError | None) -> ReportStatus:
    """Choose the status by the content; the message's own claim counts only if it has none."""
    if sighting.fix is not None:
        return "located"
    if error is not None or envelope.type == "location" or envelope.status == "FAILED":
        return "failed"
    return "info"


def _to_flags(envelope: Envelope, entry: DeviceReply, sighting: Sighting, error: ReportError | None) -> tuple[str, ...]:
    flags = sighting.flags
    claims_success, claims_failure = envelope.status == "SUCCESS", envelope.status == "FAILED"
    if (claims_success and error is not None) or (claims_failure and sighting.fix is not None):
        flags = (*flags, "status_mismatch")
    if sighting.fix is not None and says_why(error):
        flags = (*flags, ERROR_BESIDE_POSITION)
    if entry.error is not None and entry.error.time is not None and (error is None or error.at is None):
        flags = (*flags, TIME_UNREADABLE)
    if envelope.type == "location" and sighting.fix is None and error is None and not flags:
        flags = ("nothing_reported",)
    if envelope.type == "location" and sighting.fix is None and error is not None and is_final(error.type, error.info):
        flags = (*flags, GIVEN_UP)
    return flags
