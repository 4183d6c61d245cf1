"""From a receiver's raw measurement to `GNSSMeasurements`."""

from datetime import UTC, datetime

from app.model import Evidence, GnssEvidence
from app.providers.cloudlocate import ubx, wire
from app.providers.cloudlocate.findings import Findings
from app.providers.cloudlocate.settings import ChecksumPolicy, CloudLocateSettings

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
    observed_at = gnss.observed_at or evidence.observed_at
    frames = _read(gnss, settings, findings)
    if frames is None or not _is_worth_sending(frames, gnss, observed_at, settings, now, findings):
        return None
    frames = _with_trusted_checksums(frames, settings, findings)
    if not frames:
        return None
    _lint(frames, observed_at, now, findings)
    return wire.GnssMeasurements(
        payload=_payload(frames, settings),
        date_time=None if observed_at is None else to_vendor_time(observed_at),
    )


def to_vendor_time(at: datetime) -> str:
    """Write an instant the vendor's way: UTC, whole seconds, no suffix."""
    return at.astimezone(UTC).isoformat()[:19]


def _read(gnss: GnssEvidence, settings: CloudLocateSettings, findings: Findings) -> list[ubx.Frame] | None:
    if not gnss.payload:
        findings.leave_out("gnss: the payload is empty", _POINTER, "TOO_SHORT")
        return None
    if len(gnss.payload) > settings.max_payload_bytes:
        findings.refuse(_POINTER, "TOO_LONG", f"At most {settings.max_payload_bytes} bytes are taken.")
        return None
    try:
        return ubx.read(gnss.payload)
    except ubx.MalformedUbx as error:
        findings.refuse(_POINTER, error.code, error.detail)
        return None


def _is_worth_sending(
    frames: list[ubx.Frame],
    gnss: GnssEvidence,
    observed_at: datetime | None,
    settings: CloudLocateSettings,
    now: datetime,
    findings: Findings,
) -> bool:
    if any(frame.identity not in settings.allowed_ubx_ids for frame in frames):
        reason = "gnss: this UBX message is not accepted; send RXM-MEASX, -MEAS50, -MEAS20 or -MEASC12"
        findings.leave_out(reason, _POINTER, "UNSUPPORTED")
    elif not any(ubx.has_satellites(frame) for frame in frames):
        reason = "gnss: the measurement holds no satellites; wait until the receiver tracks some"
        findings.leave_out(reason, _POINTER, "NO_SATELLITES")
    elif observed_at is not None and (now - observed_at).total_seconds() > settings.max_age_s:
        pointer = "/gnss/observedAt" if gnss.observed_at else "/observedAt"
        findings.leave_out("gnss: the measurement is too old to be solved", pointer, "TOO_OLD")
    else:
        return True
    return False


def _with_trusted_checksums(
    frames: list[ubx.Frame], settings: CloudLocateSettings, findings: Findings
) -> list[ubx.Frame]:
    """Treat frames with a wrong checksum by the policy for their message; return those that are sent."""
    wrong = {index for index, frame in enumerate(frames) if not frame.is_sound}
    if not wrong:
        return frames
    policies = {index: _checksum_policy(frames[index], settings) for index in wrong}
    rejected = {index for index, policy in policies.items() if policy == "reject"}
    if "repair" in policies.values():
        findings.hint("gnss: the checksum of a frame was wrong and has been put right")
    if "warn" in policies.values():
        findings.has_wrong_checksum = True
        findings.hint("gnss: the checksum of a frame is wrong; it was sent as it came")
    if len(rejected) == len(frames):
        reason = "gnss: the checksum of the UBX frame is wrong; its bytes were altered on their way here"
        findings.leave_out(reason, _POINTER, "CHECKSUM_MISMATCH")
    elif rejected:
        findings.hint("gnss: frames with a wrong checksum were left out")
    return [
        ubx.repair(frame) if policies.get(index) == "repair" else frame
        for index, frame in enumerate(frames)
        if index not in rejected
    ]


def _checksum_policy(frame: ubx.Frame, settings: CloudLocateSettings) -> ChecksumPolicy:
    return settings.measx_checksum_policy if frame.identity == ubx.MEASX else settings.checksum_policy


def _lint(frames: list[ubx.Frame], observed_at: datetime | None, now: datetime, findings: Findings) -> None:
    if observed_at is None:
        if not all(ubx.carries_time(frame) for frame in frames):
            findings.hint("gnss: time assumed to be that of the request; send observedAt with stored measurements")
    elif (now - observed_at).total_seconds() > _OLD_S:
        findings.hint("gnss: the measurement is over an hour old; fresh ones are solved more reliably")
    measx = [frame for frame in frames if frame.identity == ubx.MEASX]
    if measx and max(ubx.strong_satellites(one, least_dbhz=_GOOD_CNO_DBHZ) for one in measx) < _GOOD_SATELLITES:
        findings.hint("gnss: fewer than five satellites are received well; measure longer or under open sky")


def _payload(frames: list[ubx.Frame], settings: CloudLocateSettings) -> bytes:
    if settings.frame_policy == "strip" and len(frames) == 1 and frames[0].is_compact:
        return frames[0].payload
    if settings.frame_policy != "passthrough" and frames[0].trailer is None:
        return ubx.to_bytes(frames[0])
    return b"".join(map(ubx.as_it_came, frames))
