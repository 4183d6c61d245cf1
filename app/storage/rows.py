"""From reports to rows: ids made of time and content, so that the same content is the same row."""

from datetime import datetime
from hashlib import blake2b
from typing import ClassVar

import msgspec

from app.ids import EPOCH, from_milliseconds, milliseconds, new_digits
from app.model import Device, Report, SimpleFix

_HASH_BYTES = 16
_HASH_DIGITS_OF_ID = 20


class NewReport(msgspec.Struct, kw_only=True, gc=False):
    """A report on its way into the database: what the provider said, and what storing makes of it.

    Members that have the name of a column of `reports` fill that column; the other columns are filled by `said`, its
    fix and its error (see `writer.arguments`).

    Attributes:
        content_hash: The id is derived from this and `at`.
        undated: Whether the report states no time of its own, so that its first arrival dates it.
        is_vouched: Whether the provider itself says that device and MDN belong together in this account.
        refused_mdn: The MDN that the provider denies to belong to the device; the row has none, then.
    """

    said: Report
    at: datetime
    received_at: datetime
    id: str
    content_hash: str
    device: str
    account: str | None = None
    device_kind: str | None = None
    mdn: str | None = None
    name: str | None = None
    flags: tuple[str, ...] | None = None
    callback_id: str | None = None
    raw: str | None = None
    undated: bool = False
    is_vouched: bool = False
    refused_mdn: str | None = None


class NewCallback(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A callback on its way into the database; members are the columns of `callbacks`, the body travels apart."""

    id: str
    received_at: datetime
    provider: str
    service: str
    state: str
    signature: str
    account: str | None = None
    reason: str | None = None
    flags: tuple[str, ...] | None = None


class NewSimpleFix(msgspec.Struct, kw_only=True, gc=False):
    """A callback that holds a simple fix alone, with its report.

    Members are those of the type `new_simple_fix`, in its order.
    Columns of `reports` that have no member here are empty.

    Attributes:
        at_us: When the device was there, microseconds since 1970.
        received_us: When the callback arrived, microseconds since 1970.
        id: The report's.
        device: The device's key; here always its id.
    """

    is_vouched: ClassVar[bool] = True
    name: ClassVar[None] = None
    flags: ClassVar[None] = None

    at_us: int
    received_us: int
    id: str
    callback_id: str
    provider: str
    account: str
    service: str
    signature: str
    transaction_id: str
    device: str
    device_kind: str
    mdn: str
    latitude: float
    longitude: float
    accuracy_m: float | None
    source: str
    cached: bool
    vendor_type: str
    body: bytes

    @property
    def received_at(self) -> datetime:
        """When the callback arrived."""
        return from_milliseconds(self.received_us // 1000)

    def quarantined(self, reason: str) -> NewCallback:
        """Make a row of the callback alone, in quarantine for a reason."""
        return NewCallback(
            id=self.callback_id,
            received_at=self.received_at,
            provider=self.provider,
            service=self.service,
            state="quarantined",
            signature=self.signature,
            account=self.account,
            reason=reason,
        )


def content_hash(content_key: str) -> str:
    """Hash the content that makes two reports the same, as 32 hexadecimal digits."""
    return blake2b(content_key.encode(), digest_size=_HASH_BYTES).hexdigest()


def report_id_of_hash(at: datetime, hash_digits: str) -> str:
    """Derive a report's id from its time and content hash, as hexadecimal digits of a ULID."""
    return f"{milliseconds(at):012x}{hash_digits[:_HASH_DIGITS_OF_ID]}"


def device_key(device: Device) -> str:
    """Name a device by the best identifier it has; empty when it has none."""
    if device.id:
        return device.id
    if device.mdn:
        return f"mdn:{device.mdn}"
    return f"name:{device.name}" if device.name else ""


def to_simple_fix_row(
    report: SimpleFix, body: bytes, *, provider: str, service: str, signature: str, received_ms: int
) -> NewSimpleFix:
    """Turn a callback with a simple fix into a row; `to_row` would make the same columns of its report.

    Args:
        received_ms: When the callback arrived, milliseconds since 1970.
    """
    said_at_ms = report.said_at_s * 1000
    digits = blake2b(report.content_key, digest_size=_HASH_BYTES).hexdigest()
    return NewSimpleFix(
        at_us=said_at_ms * 1000,
        received_us=received_ms * 1000,
        id=f"{said_at_ms:012x}{digits[:_HASH_DIGITS_OF_ID]}",
        callback_id=new_digits(received_ms),
        provider=provider,
        account=report.account,
        service=service,
        signature=signature,
        transaction_id=report.transaction_id,
        device=report.device_id,
        device_kind=report.device_kind,
        mdn=report.mdn,
        latitude=report.latitude_deg,
        longitude=report.longitude_deg,
        accuracy_m=report.accuracy_m,
        source=report.source,
        cached=report.cached,
        vendor_type=report.vendor_type,
        body=body,
    )


def to_row(
    report: Report,
    *,
    received_at: datetime,
    callback_id: str | None = None,
    raw: str | None = None,
    is_vouched: bool = False,
) -> NewReport:
    """Turn a report into a row.

    Reports without a time, or from before 1970, which no ULID can hold, are dated by their first arrival.
    """
    said_at = report.said_at
    undated = said_at is None or said_at < EPOCH
    at = received_at if said_at is None or undated else said_at
    if at.microsecond % 1000:
        at = from_milliseconds(milliseconds(at))
    device = report.device
    hash_digits = content_hash(report.content_key)
    row = NewReport(
        said=report,
        at=at,
        received_at=received_at,
        id=report_id_of_hash(at, hash_digits),
        content_hash=hash_digits,
        device=device_key(device),
        account=report.account,
        device_kind=device.kind,
        mdn=device.mdn,
        name=device.name,
        flags=report.flags or None,  # an empty array costs driver and database more than none
        callback_id=callback_id,
        raw=raw,
        undated=undated,
        is_vouched=is_vouched,
    )
    if report.refuses_pair and device.id is not None:
        row.mdn, row.refused_mdn = None, device.mdn
    return row
