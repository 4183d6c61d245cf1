"""From a Wi-Fi scan to `WiFiMeasurements`."""

from collections.abc import Sequence

from app.model import AccessPoint
from app.providers.cloudlocate import wire
from app.providers.cloudlocate.findings import Findings

_LEAST = 2  # the vendor's own limit, for the privacy of a single access point's owner
_GOOD = 3
_MOST = 25
_WEAKEST_DBM, _STRONGEST_DBM = -120, -1
_ZERO = "0" * 12
_GROUP_DIGITS = frozenset("13579bdf")
"""Second hexadecimal digits of broadcast and multicast addresses: the lowest bit of the first octet is set."""


def to_measurements(points: Sequence[AccessPoint], findings: Findings) -> list[wire.WiFiMeasurement] | None:
    """Check the scan and write its strongest access points first; None when it is too small to be solved."""
    if not points:
        return None
    strongest = _strongest(points, findings)
    if len(strongest) < _LEAST:
        reason = (
            f"wifi: at least two distinct access points are needed; {len(points)} sent, {len(strongest)} can be used"
        )
        findings.leave_out(reason, "/wifiAccessPoints", "TOO_FEW")
        return None
    _lint(points, strongest, findings)
    return [
        wire.WiFiMeasurement(bssid=point.mac, signal_strength=signal_dbm, channel=point.channel or None)
        for signal_dbm, point in strongest[:_MOST]
    ]


def _strongest(points: Sequence[AccessPoint], findings: Findings) -> list[tuple[int, AccessPoint]]:
    by_mac: dict[str, tuple[int, AccessPoint]] = {}
    for index, point in enumerate(points):
        signal_dbm = point.signal_dbm
        if signal_dbm is None or not _is_usable(point.mac, signal_dbm):
            _omit(index, point, findings)
            continue
        known = by_mac.get(point.mac)
        if known is None or known[0] < signal_dbm:
            by_mac[point.mac] = (signal_dbm, point)
    return sorted(by_mac.values(), key=_strength, reverse=True)


def _strength(entry: tuple[int, AccessPoint]) -> int:
    return entry[0]


def _is_usable(mac: str, signal_dbm: int) -> bool:
    return _WEAKEST_DBM <= signal_dbm <= _STRONGEST_DBM and mac[1] not in _GROUP_DIGITS and mac != _ZERO


def _omit(index: int, point: AccessPoint, findings: Findings) -> None:
    entry = f"/wifiAccessPoints/{index}"
    if point.mac == _ZERO:
        findings.omit("wifi", entry, "macAddress", "NOT_AN_ACCESS_POINT", "the MAC address is all zeros")
    elif point.mac[1] in _GROUP_DIGITS:
        reason = "the MAC address is a multicast address (lowest bit of its first octet set), which no access point has"
        findings.omit("wifi", entry, "macAddress", "NOT_AN_ACCESS_POINT", reason)
    elif point.signal_dbm is None:
        findings.omit("wifi", entry, "signalStrength", "MISSING", "an access point needs its signalStrength")
    else:
        reason = "signalStrength must be in dBm, -120 to -1; zero and above look like another unit"
        findings.omit("wifi", entry, "signalStrength", "OUT_OF_RANGE", reason)


def _lint(points: Sequence[AccessPoint], strongest: list[tuple[int, AccessPoint]], findings: Findings) -> None:
    if len(strongest) < _GOOD:
        what = "were sent" if len(points) == len(strongest) else "can be used"
        findings.hint(f"wifi: only two access points {what}; three or more improve accuracy")
    if len(strongest) > _MOST:
        findings.hint("wifi: more than 25 access points were sent; the strongest 25 were used")
    if not all(point.channel for _, point in strongest):
        findings.hint("wifi: the channel of every access point helps")
