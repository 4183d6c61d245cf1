"""From a Wi-Fi scan to `WiFiMeasurements`."""

from collections.abc import Sequence

from app.model import AccessPoint
from app.providers.cloudlocate import wire
from app.providers.cloudlocate.findings import Findings

_LEAST = 2  # the vendor's own limit, for the privacy of whoever owns a single access point
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
        findings.leave_out("wifi: fewer than two distinct access points with a signalStrength were sent")
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
        if signal_dbm is None:
            continue
        if not _WEAKEST_DBM <= signal_dbm <= _STRONGEST_DBM:
            findings.refuse(
                f"/wifiAccessPoints/{index}/signalStrength",
                "OUT_OF_RANGE",
                "Must be in dBm, -120 to -1; zero and above look like another unit.",
            )
        elif _is_one_access_point(point.mac):
            known = by_mac.get(point.mac)
            if known is None or known[0] < signal_dbm:
                by_mac[point.mac] = (signal_dbm, point)
    return sorted(by_mac.values(), key=_strength, reverse=True)


def _strength(entry: tuple[int, AccessPoint]) -> int:
    return entry[0]


def _is_one_access_point(mac: str) -> bool:
    return mac[1] not in _GROUP_DIGITS and mac != _ZERO


def _lint(points: Sequence[AccessPoint], strongest: list[tuple[int, AccessPoint]], findings: Findings) -> None:
    if len(strongest) < _GOOD:
        findings.hint("wifi: only two access points were sent; three or more improve accuracy")
    if len(strongest) > _MOST:
        findings.hint("wifi: more than 25 access points were sent; the strongest 25 were used")
    if any(point.signal_dbm is None for point in points):
        findings.hint("wifi: access points without signalStrength were left out")
    if not all(point.channel for _, point in strongest):
        findings.hint("wifi: the channel of every access point helps")
