"""The vocabulary of the gateway: the question, what it offers to be located by, and what comes back.

These are frozen structs instead of frozen dataclasses: a burst of callbacks makes many thousands of them a second, and
a struct costs an eighth. `msgspec.structs.replace` makes a changed copy.
"""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NewType

import msgspec
from msgspec import field

ProviderName = NewType("ProviderName", str)
AccountName = NewType("AccountName", str)
TransactionId = NewType("TransactionId", str)
Mdn = NewType("Mdn", str)


DeviceIdKind = Literal["imei", "meid", "esn"]
Source = Literal["gnss", "wifi", "cell", "network", "unknown"]
ReportType = Literal["location", "stopped", "consent", "other"]
Strategy = Literal["ordered", "best"]
OnFailure = Literal["error", "last_known"]
ReportStatus = Literal["located", "failed", "info"]


class Device(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The identifiers of one device, as far as they are known.

    Attributes:
        id: IMEI (14 to 16 digits), MEID (14 hex characters) or ESN, as `kind` says.
        kind: Which of the three `id` is; None exactly when `id` is None.
        mdn: Ten-digit mobile directory number, without the country code.
        account: The provider's billing account.
        name: The caller's own name for the device, at most 128 characters.
    """

    id: str | None = None
    kind: DeviceIdKind | None = None
    mdn: Mdn | None = None
    account: AccountName | None = None
    name: str | None = None

    @property
    def imei(self) -> str | None:
        """The IMEI, if the id is one."""
        return self.id if self.kind == "imei" else None


class GnssEvidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A receiver's raw measurement.

    Attributes:
        payload: The decoded bytes, one or several UBX frames or a bare payload.
        observed_at: When it was measured; None when the caller did not say.
    """

    payload: bytes
    observed_at: datetime | None = None


class AccessPoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Wi-Fi access point of a scan.

    Attributes:
        mac: Twelve lower-case hexadecimal digits.
        signal_dbm: Received strength, negative.
        channel: Wi-Fi channel number.
    """

    mac: str
    signal_dbm: int | None = None
    channel: int | None = None


class CellTower(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One cell of a scan; names as in Google's geolocation format.

    Attributes:
        radio: `gsm`, `lte`, `ltem`, or another word in lower case.
        area_code: LAC (GSM) or TAC (LTE).
        cell_id: Logical id; for LTE the 28-bit E-UTRAN cell id.
        physical_cell_id: LTE physical cell id; for GSM the BSIC.
        channel: EARFCN (LTE) or ARFCN (GSM).
        signal_dbm: RSRP (LTE) or RXLEV in dBm (GSM).
        serving: Whether the device is camped on it.
    """

    radio: str | None = None
    mobile_country_code: int | None = None
    mobile_network_code: int | None = None
    area_code: int | None = None
    cell_id: int | None = None
    physical_cell_id: int | None = None
    channel: int | None = None
    signal_dbm: int | None = None
    serving: bool = False


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A device's own measurements; at least one of the three groups is there.

    Attributes:
        observed_at: When the scans were made; `gnss.observed_at` wins for GNSS.
    """

    gnss: GnssEvidence | None = None
    access_points: tuple[AccessPoint, ...] = ()
    cell_towers: tuple[CellTower, ...] = ()
    observed_at: datetime | None = None


class LocationQuery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The question "where is this device?"; equal queries share one answer.

    Attributes:
        max_age_s: How old a fix may be when locating by device; None takes what there is, 0 asks for a current one.
        pinned: The one provider to ask; None leaves the choice to the policy.
        fallback: Whether another provider may be asked when the first one fails.
        confidence_pct: The level at which the accuracy is to be given, 50 to 99; None takes the provider's own.
        max_accuracy_m: A wider circle than this is not good enough, and the next provider is asked.
        assured: Whether a wider circle is refused, instead of answered where there is nothing better.
        strategy: `best` asks all providers at the same time, and takes the smallest circle.
        on_failure: `last_known` takes the newest stored position where nobody can say where the device is now.
    """

    device: Device = field(default_factory=Device)
    evidence: Evidence | None = None
    max_age_s: int | None = None
    pinned: ProviderName | None = None
    fallback: bool = True
    confidence_pct: int | None = None
    max_accuracy_m: float | None = None
    assured: bool = False
    strategy: Strategy = "ordered"
    on_failure: OnFailure = "error"


class Deadline(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The instant by which everything has to be done.

    Attributes:
        at: On the clock of `time.monotonic`, seconds.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Set the deadline `seconds` from now."""
        return cls(at=time.monotonic() + seconds)

    def left_s(self) -> float:
        """Return how many seconds are left, at least zero."""
        return max(0.0, self.at - time.monotonic())


class Fix(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A position and how well it is known.

    Attributes:
        latitude_deg: WGS 84, north positive, -90 to 90.
        longitude_deg: WGS 84, east positive, -180 to 180.
        accuracy_m: Radius of the circle that holds the device with probability `confidence_pct`; None if not stated.
        confidence_pct: 1 to 99, or None where the provider states no level.
        fixed_at: When the device was there, not when the answer came.
        source: What the position was worked out from.
        cached: Whether the fix was obtained earlier, for another question.
        qos_met: Whether the provider says that it met the accuracy asked of it; None where it does not say.
    """

    latitude_deg: float
    longitude_deg: float
    accuracy_m: float | None
    confidence_pct: int | None
    fixed_at: datetime
    source: Source
    provider: ProviderName
    cached: bool = False
    qos_met: bool | None = None


class Located(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A provider's answer to one query.

    Attributes:
        fix: The position.
        hints: What the caller could do better, in words; no identifiers, no positions.
        raw: The provider's own answer about this device, as JSON text; stored with the report.
        billed: Whether the provider is known to charge for it; None where that is not documented.
        flags: What is odd about it, as in a report; see `app.plausibility`.
        error: What the provider says against its own position.
    """

    fix: Fix
    hints: tuple[str, ...] = ()
    raw: str | None = None
    billed: bool | None = None
    flags: tuple[str, ...] = ()
    error: "ReportError | None" = None


class NotLocated(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A provider's answer to one query whose position is none, such as 0/0.

    Attributes:
        provider: Who answered.
        said_at: The time that is stated for the position; None when none can be read.
        flags: What the position is instead, as in a report; see `app.plausibility`.
        error: Why there is none, in the provider's own words.
        raw: The provider's own answer about this device, as JSON text.
    """

    provider: ProviderName
    flags: tuple[str, ...]
    said_at: datetime | None = None
    error: "ReportError | None" = None
    raw: str | None = None


class ReportError(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a provider has no position, in its own words."""

    type: str | None = None
    info: str | None = None
    at: datetime | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a provider said about one device.

    Attributes:
        type: What kind of statement this is; `other` for a report type we do not know.
        status: `located` exactly when `fix` is there; `info` where it is not about a position.
        content_key: The content that makes two reports the same one, from which the id is derived.
        said_at: The time of the fix or of the error as the provider states it; None when it states none.
        flags: What is odd about it: `time_unreadable`, `axes_swapped_suspected`, `status_mismatch`, `after_end`, …
        vendor_type: The provider's own word for the type.
        refuses_pair: Whether it says that the device's identifiers do not belong together, or not to the account.
    """

    provider: ProviderName
    type: ReportType
    status: ReportStatus
    content_key: str
    account: AccountName | None = None
    transaction_id: TransactionId | None = None
    device: Device = field(default_factory=Device)
    fix: Fix | None = None
    error: ReportError | None = None
    said_at: datetime | None = None
    flags: tuple[str, ...] = ()
    vendor_type: str | None = None
    refuses_pair: bool = False


class SimpleFix(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What nearly all callbacks say, in short: a device was located, and nothing is odd about it.

    Attributes:
        content_key: As that of the report that it is short for, in UTF-8.
        said_at_s: The time of the fix, whole seconds since 1970.
        latitude_deg: WGS 84, north positive, -90 to 90.
        longitude_deg: WGS 84, east positive, -180 to 180.
        accuracy_m: Radius of the circle that holds the device; None if not stated.
        vendor_type: The provider's own word for the type.
    """

    content_key: bytes
    account: AccountName
    transaction_id: TransactionId
    device_id: str
    device_kind: DeviceIdKind
    mdn: Mdn
    said_at_s: int
    latitude_deg: float
    longitude_deg: float
    accuracy_m: float | None
    source: Source
    cached: bool
    vendor_type: str


class PeriodicPlan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A periodic session, as it is requested from a provider.

    Attributes:
        devices: 1 to 10,000, each with an IMEI, with an MDN where it is known.
        interval_s: Between the starts of fixes, 1 to 1,036,800 seconds.
        count: Fixes per device, 1 to 1,000; None until stopped.
        start_delay_s: 0 to 86,400 seconds.
        max_age_s: How old a cached fix may be to be taken instead of a current one, 0 to 3,600 seconds.
    """

    account: AccountName
    devices: tuple[Device, ...]
    interval_s: int
    count: int | None
    start_delay_s: int = 0
    max_age_s: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A callback listener as the provider knows it.

    Attributes:
        secret: The key that callbacks are signed with; handed out once, at registration.
        header_names: Names of all headers of the registration reply, so that unknown ones can be found.
    """

    account: AccountName
    service: str
    url: str
    secret: str | None = dataclasses.field(default=None, repr=False)
    header_names: tuple[str, ...] = ()


Headers = Mapping[str, str]
"""Header fields by lower-case name."""
