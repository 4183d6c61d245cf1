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
    serving = next(filter(_can_serve, towers), None)
    default = serving.radio if serving else None
    rats = [_to_rat(tower.radio or default) for tower in towers]
    for index, (tower, rat) in enumerate(zip(towers, rats, strict=True)):
        _check_ranges(index, tower, rat, findings)
    if serving is None:
        findings.leave_out(_why_unusable(towers))
        return None
    return _around(serving, towers, rats, imei, findings)


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


def _check_ranges(index: int, tower: CellTower, rat: wire.Rat | None, findings: Findings) -> None:
    if rat is None:
        return
    for attribute, member, least, most in _RANGES[rat]:
        value = getattr(tower, attribute)
        if value is not None and not least <= value <= most:
            findings.refuse(
                f"/cellTowers/{index}/{member}", "OUT_OF_RANGE", f"Must be {least} to {most} for this radioType."
            )


def _why_unusable(towers: Sequence[CellTower]) -> str:
    radios = [tower.radio for tower in towers if tower.radio]
    if radios and not any(map(_to_rat, radios)):
        return "cell: none of the towers has a supported radioType; gsm, lte and ltem can be used"
    if not any(tower.serving for tower in towers):
        return 'cell: no tower is the serving one; mark it with "serving": true'
    return "cell: the serving tower needs a supported radioType, mobileCountryCode, mobileNetworkCode and cellId"


def _around(
    serving: CellTower,
    towers: Sequence[CellTower],
    rats: list[wire.Rat | None],
    imei: str | None,
    findings: Findings,
) -> wire.CellMeasurements:
    rat = _to_rat(serving.radio)
    mcc, mnc = serving.mobile_country_code, serving.mobile_network_code
    assert rat is not None
    assert mcc is not None
    assert mnc is not None
    alike = [
        tower
        for tower, its_rat in zip(towers, rats, strict=True)
        if tower is not serving and its_rat == rat and _is_same_network(tower, mcc, mnc)
    ]
    neighbours = [tower for tower in alike if tower.physical_cell_id is not None and tower.channel is not None]
    if len(alike) < len(towers) - 1:
        findings.hint("cell: only towers of the serving cell's radioType and network were used")
    if len(neighbours) < len(alike):
        findings.hint("cell: neighbours without physicalCellId and channel were left out")
    _lint(serving, findings)
    return wire.CellMeasurements(
        home_mcc=mcc,
        home_mnc=mnc,
        imei=imei,
        rat=rat,
        network_cells=[_to_serving(serving), *map(_to_neighbour, neighbours)],
    )


def _is_same_network(tower: CellTower, mcc: int, mnc: int) -> bool:
    return tower.mobile_country_code in {None, mcc} and tower.mobile_network_code in {None, mnc}


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
