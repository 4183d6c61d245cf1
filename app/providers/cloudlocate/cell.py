"""From a cell scan to `CellMeasurements`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.model import CellTower
from app.providers.cloudlocate import wire
from app.providers.cloudlocate.findings import Findings

_RATS: Mapping[str, wire.Rat] = {
    "gsm": "GSM",
    "lte": "LTE",
    "ltem": "LTECATM1",
    "ltecatm1": "LTECATM1",
    "catm1": "LTECATM1",
    "emtc": "LTECATM1",
}
_RESERVED_TAC = 65_534


class _Range(NamedTuple):
    """What 3GPP allows for one field, and the name by which the caller knows it."""

    attribute: str
    member: str
    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.member} must be {self.least} to {self.most} for this radioType"


_EVERYWHERE = (
    _Range("mobile_country_code", "mobileCountryCode", 1, 999),
    _Range("mobile_network_code", "mobileNetworkCode", 0, 999),
)
_GSM = (
    *_EVERYWHERE,
    _Range("cell_id", "cellId", 0, 65_535),
    _Range("area_code", "locationAreaCode", 1, 65_533),
    _Range("physical_cell_id", "physicalCellId", 0, 63),
    _Range("channel", "channel", 0, 1023),
    _Range("signal_dbm", "signalStrength", -113, -40),
)
_LTE = (
    *_EVERYWHERE,
    _Range("cell_id", "cellId", 0, 268_435_455),
    _Range("area_code", "locationAreaCode", 0, 65_535),
    _Range("physical_cell_id", "physicalCellId", 0, 503),
    _Range("channel", "channel", 0, 262_143),
    _Range("signal_dbm", "signalStrength", -156, -31),
)
_RANGES: Mapping[wire.Rat, tuple[_Range, ...]] = {"GSM": _GSM, "LTE": _LTE, "LTECATM1": _LTE}


def to_measurements(towers: Sequence[CellTower], imei: str | None, findings: Findings) -> wire.CellMeasurements | None:
    """Check the scan and write it around its serving cell; None when it has none that can be used."""
    if not towers:
        return None
    for index, serving in enumerate(towers):
        if _can_serve(serving):
            return _around(index, serving, towers, imei, findings)
    _leave_out(towers, findings)
    return None


def _to_rat(radio: str | None) -> wire.Rat | None:
    return None if radio is None else _RATS.get(radio.replace("-", "").replace("_", ""))


def _can_serve(tower: CellTower) -> bool:
    return (
        tower.serving
        and _to_rat(tower.radio) is not None
        and tower.cell_id is not None
        and tower.mobile_country_code is not None
        and tower.mobile_network_code is not None
    )


def _leave_out(towers: Sequence[CellTower], findings: Findings) -> None:
    radios = [(index, tower.radio) for index, tower in enumerate(towers) if tower.radio]
    if radios and not any(_to_rat(radio) for _, radio in radios):
        reason = "cell: none of the towers has a supported radioType; gsm, lte and ltem can be used"
        findings.leave_out(reason, f"/cellTowers/{radios[0][0]}/radioType", "UNSUPPORTED")
    elif not any(tower.serving for tower in towers):
        reason = (
            'cell: no tower is the serving one; mark it with "serving": true, and send its radioType, '
            "mobileCountryCode, mobileNetworkCode and cellId"
        )
        findings.leave_out(reason, "/cellTowers", "MISSING")
    else:
        index = next(index for index, tower in enumerate(towers) if tower.serving)
        reason = "cell: the serving tower needs a supported radioType, mobileCountryCode, mobileNetworkCode and cellId"
        findings.leave_out(reason, f"/cellTowers/{index}", "MISSING")


def _around(
    index: int, serving: CellTower, towers: Sequence[CellTower], imei: str | None, findings: Findings
) -> wire.CellMeasurements:
    rat = _to_rat(serving.radio)
    assert rat is not None
    assert serving.mobile_country_code is not None
    assert serving.mobile_network_code is not None
    for allowed in _out_of_range(serving, rat):
        findings.refuse(f"/cellTowers/{index}/{allowed.member}", "OUT_OF_RANGE", f"{allowed}.")
    neighbours = [
        tower
        for its_index, tower in enumerate(towers)
        if its_index != index and _is_usable_neighbour(its_index, tower, serving, rat, findings)
    ]
    _lint(serving, findings)
    return wire.CellMeasurements(
        home_mcc=serving.mobile_country_code,
        home_mnc=serving.mobile_network_code,
        imei=imei,
        rat=rat,
        network_cells=[_to_serving(serving), *map(_to_neighbour, neighbours)],
    )


def _is_usable_neighbour(index: int, tower: CellTower, serving: CellTower, rat: wire.Rat, findings: Findings) -> bool:
    member, code, reason = _fault_of(tower, serving, rat)
    if member:
        findings.omit("cell", f"/cellTowers/{index}", member, code, reason)
    return not member


def _fault_of(tower: CellTower, serving: CellTower, rat: wire.Rat) -> tuple[str, str, str]:
    """Name the member for which a neighbour cannot be sent, a code and the reason; empty when it can."""
    if tower.radio is not None and _to_rat(tower.radio) != rat:
        return "radioType", "UNSUPPORTED", "only towers of the serving cell's radioType can be used"
    if tower.mobile_country_code not in {None, serving.mobile_country_code}:
        return "mobileCountryCode", "UNSUPPORTED", "only towers of the serving cell's network can be used"
    if tower.mobile_network_code not in {None, serving.mobile_network_code}:
        return "mobileNetworkCode", "UNSUPPORTED", "only towers of the serving cell's network can be used"
    if tower.physical_cell_id is None or tower.channel is None:
        member = "channel" if tower.channel is None else "physicalCellId"
        return member, "MISSING", "a neighbour needs physicalCellId and channel"
    for allowed in _out_of_range(tower, rat):
        return allowed.member, "OUT_OF_RANGE", str(allowed)
    return "", "", ""


def _out_of_range(tower: CellTower, rat: wire.Rat) -> list[_Range]:
    values = [(allowed, getattr(tower, allowed.attribute)) for allowed in _RANGES[rat]]
    return [allowed for allowed, value in values if value is not None and not allowed.least <= value <= allowed.most]


def _lint(serving: CellTower, findings: Findings) -> None:
    if None in {serving.area_code, serving.physical_cell_id, serving.channel, serving.signal_dbm}:
        findings.hint(
            "cell: locationAreaCode, physicalCellId, channel and signalStrength of the serving cell improve accuracy"
        )
    if serving.area_code is not None and serving.area_code >= _RESERVED_TAC:
        findings.hint("cell: this locationAreaCode is a reserved value; the modem may not have known it yet")


def _to_serving(tower: CellTower) -> wire.NetworkCell:
    return wire.NetworkCell(
        cell_identifier=tower.cell_id,
        area_code=tower.area_code,
        signal_strength=tower.signal_dbm,
        code=tower.physical_cell_id,
        frequency=tower.channel,
        is_serving_cell=True,
    )


def _to_neighbour(tower: CellTower) -> wire.NetworkCell:
    return wire.NetworkCell(signal_strength=tower.signal_dbm, code=tower.physical_cell_id, frequency=tower.channel)
