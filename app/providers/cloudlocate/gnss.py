"""From a receiver's raw measurement to `GNSSMeasurements`."""

from datetime import UTC, datetime

from app.model import Evidence, GnssEvidence
from app.providers.cloudlocate import ubx, wire
from app.providers.cloudlocate.findings import Findings
from app.providers.cloudlocate.settings import CloudLocateSettings

_POINTER = "/gnss/payload"
_OLD_S = 3600
_GOOD_CNO_DBHZ = 30
_GOOD_SATELLITES = 5


def to_measurements(
    evidence: Evidence, settings: CloudLocateSettings, now: datetime, findings: Findings
) -> wire.GnssMeasurements | None:
    """Check the measurement and write it as CloudLocate wants it; None when there is none worth sending."""
    gnss = evidence.gnss
    if gnss is None:
        return None
    frames = _frames(gnss, settings, findings)
    observed_at = gnss.observed_at or evidence.observed_at
    if frames is None or not _is_worth_sending(frames, observed_at, settings, now, findings):
        return None
    _lint(frames, observed_at, now, findings)
    return wire.GnssMeasurements(
        payload=_payload(gnss.payload, frames, settings, findings),
        date_time=None if observed_at is None else to_vendor_time(observed_at),
    )


def to_vendor_time(at: datetime) -> str:
    """Write an instant the vendor's way: UTC, whole seconds, no suffix."""
    return at.astimezone(UTC).isoformat()[:19]


def _frames(gnss: GnssEvidence, settings: CloudLocateSettings, findings: Findings) -> list[ubx.Frame] | None:
    if not gnss.payload:
        findings.leave_out("gnss: the payload is empty")
        return None
    if len(gnss.payload) > settings.max_payload_bytes:
        findings.refuse(_POINTER, "TOO_LONG", f"At most {settings.max_payload_bytes} bytes are taken.")
        return None
    try:
        frames = ubx.read(gnss.payload)
    except ubx.MalformedUbx as error:
        findings.refuse(_POINTER, error.code, error.detail)
        return None
    if settings.checksum_policy == "reject" and not all(frame.is_sound for frame in frames):
        findings.refuse(_POINTER, "CHECKSUM_MISMATCH", "The checksum of a UBX frame is wrong.")
        return None
    return frames


def _is_worth_sending(
    frames: list[ubx.Frame],
    observed_at: datetime | None,
    settings: CloudLocateSettings,
    now: datetime,
    findings: Findings,
) -> bool:
    if any(frame.identity not in settings.allowed_ubx_ids for frame in frames):
        findings.leave_out("gnss: this UBX message is not accepted; send RXM-MEASX, -MEAS50, -MEAS20 or -MEASC12")
    elif not any(ubx.has_satellites(frame) for frame in frames):
        findings.leave_out("gnss: the measurement holds no satellites; wait until the receiver tracks some")
    elif observed_at is not None and (now - observed_at).total_seconds() > settings.max_age_s:
        findings.leave_out("gnss: the measurement is too old to be solved")
    else:
        return True
    return False


def _lint(frames: list[ubx.Frame], observed_at: datetime | None, now: datetime, findings: Findings) -> None:
    if observed_at is None:
        if not all(ubx.carries_time(frame) for frame in frames):
            findings.hint("gnss: time assumed to be that of the request; send observedAt with stored measurements")
    elif (now - observed_at).total_seconds() > _OLD_S:
        findings.hint("gnss: the measurement is over an hour old; fresh ones are solved more reliably")
    measx = [frame for frame in frames if frame.identity == ubx.MEASX]
    if measx and max(ubx.strong_satellites(one, least_dbhz=_GOOD_CNO_DBHZ) for one in measx) < _GOOD_SATELLITES:
        findings.hint("gnss: fewer than five satellites are received well; measure longer or under open sky")


def _payload(payload: bytes, frames: list[ubx.Frame], settings: CloudLocateSettings, findings: Findings) -> bytes:
    if not ubx.is_framed(payload):
        return ubx.to_bytes(frames[0]) if settings.frame_policy == "wrap" else payload
    if all(frame.is_sound for frame in frames):
        return payload
    if settings.checksum_policy == "repair":
        findings.hint("gnss: the checksum of a frame was wrong and has been put right")
        return b"".join(map(ubx.to_bytes, frames))
    if settings.checksum_policy == "warn":
        findings.has_wrong_checksum = True
        findings.hint("gnss: the checksum of a frame is wrong; it was sent as it came")
    return payload
