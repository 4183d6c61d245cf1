"""The synthetic radio map: access points and cells on jittered grids, found again by inverting their identifiers."""

import base64
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.simulator.world.gnss import gnss_payload
from app.simulator.world.ground import EAST, NORTH, SOUTH, WEST, Position, dice, distance_m, fraction, somewhere

UNKNOWN_BSSID_PREFIX = "02ffff"
"""Access points of this (locally administered) prefix are on no map: scans of them alone give no position."""

UNKNOWN_MCC = 999
"""The country code whose cells are on no map."""

MCC, MNC = 311, 480
"""The network whose cells cover the box; any other network's cells lie at places derived from their identity."""

_AP_STEP = (0.0007, 0.0009)
_AP_PREFIX = 0x5C3A45
_AP_REACH = 2
_AP_AT_1_M_DBM, _PATH_LOSS = -38.0, 2.6
_CELL_STEP = (0.0108, 0.0144)
_ENB_BASE = 0x2F000
_TAC_BASE = 7000
_EARFCNS = (2050, 5230, 66486)
_ROW = 64


@dataclass(frozen=True, slots=True)
class RadioAccessPoint:
    """An access point as it was heard."""

    bssid: str
    rssi_dbm: int
    channel: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the LTE network as it was heard."""

    cell_id: int
    area: int
    physical_id: int
    earfcn: int
    rsrp_dbm: int
    serving: bool


class RadioMap:
    """Where everything that can be heard is, for one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._scramble = dice(seed, "bssid") & 0xFFFFFF
        self._aps: dict[tuple[int, int], Position] = {}

    def scan_wifi(self, position: Position) -> list[RadioAccessPoint]:
        """Return the access points heard at a place, strongest first."""
        heard = []
        for node in _nodes_around(position, _AP_STEP, _AP_REACH):
            away_m = max(1.0, distance_m(position, self._ap_position(node)))
            rssi_dbm = round(_AP_AT_1_M_DBM - 10 * _PATH_LOSS * math.log10(away_m))
            channel = (1, 6, 11)[dice(self._seed, "channel", node) % 3]
            heard.append(RadioAccessPoint(self._bssid(node), rssi_dbm, channel))
        return sorted(heard, key=lambda ap: (-ap.rssi_dbm, ap.bssid))

    def solve_wifi(self, heard: Iterable[tuple[str, int]]) -> Position | None:
        """Return the place where these access points, as BSSID in 12 hex digits and RSSI, are heard like this.

        Those on the map decide. Without any, the strongest stranger does: each has a place derived from its BSSID.
        """
        known: list[tuple[Position, float]] = []
        strangers: list[tuple[int, str]] = []
        for bssid, rssi_dbm in heard:
            position = self._known_ap(bssid)
            if position is not None:
                known.append((position, 10 ** ((_AP_AT_1_M_DBM - rssi_dbm) / (10 * _PATH_LOSS))))
            elif not bssid.startswith(UNKNOWN_BSSID_PREFIX):
                strangers.append((-rssi_dbm, bssid))
        if known:
            return _meeting_point(known)
        return somewhere("access point", min(strangers)[1]) if strangers else None

    def scan_cells(self, position: Position) -> list[Cell]:
        """Return the serving cell and its neighbours as heard at a place, strongest first."""
        distances = sorted(
            (distance_m(position, self._cell_position(node)), node) for node in _nodes_around(position, _CELL_STEP, 1)
        )
        return [self._cell(node, away_m, serving=rank == 0) for rank, (away_m, node) in enumerate(distances[:4])]

    def solve_cell(self, mcc: int, mnc: int, cell_id: int) -> Position | None:
        """Return where the cell is; cells of other networks lie at places derived from their identity."""
        if mcc == UNKNOWN_MCC:
            return None
        node = divmod((cell_id >> 8) - _ENB_BASE, _ROW)
        if (mcc, mnc) == (MCC, MNC) and cell_id >> 8 >= _ENB_BASE and _is_inside(node, _CELL_STEP):
            return self._cell_position(node)
        return somewhere("cell", mcc, mnc, cell_id)

    def _bssid(self, node: tuple[int, int]) -> str:
        return f"{_AP_PREFIX:06x}{(node[0] << 12 | node[1]) ^ self._scramble:06x}"

    def _known_ap(self, bssid: str) -> Position | None:
        value = int(bssid, 16)
        if value >> 24 != _AP_PREFIX:
            return None
        node = divmod((value & 0xFFFFFF) ^ self._scramble, 1 << 12)
        return self._ap_position(node) if _is_inside(node, _AP_STEP) else None

    def _ap_position(self, node: tuple[int, int]) -> Position:
        position = self._aps.get(node)
        if position is None:
            position = self._aps[node] = _jittered(node, _AP_STEP, self._seed, "ap")
        return position

    def _cell_position(self, node: tuple[int, int]) -> Position:
        return _jittered(node, _CELL_STEP, self._seed, "cell")

    def _cell(self, node: tuple[int, int], away_m: float, *, serving: bool) -> Cell:
        return Cell(
            cell_id=(_ENB_BASE + node[0] * _ROW + node[1]) << 8 | 1,
            area=_TAC_BASE + (node[0] // 8) * 8 + node[1] // 8,
            physical_id=dice(self._seed, "pci", node) % 504,
            earfcn=_EARFCNS[dice(self._seed, "earfcn", node) % 3],
            rsrp_dbm=round(-60 - 25 * math.log10(max(30.0, away_m) / 30.0)),
            serving=serving,
        )


def _nodes_around(position: Position, step: tuple[float, float], reach: int) -> Iterator[tuple[int, int]]:
    row = round((position.latitude - SOUTH) / step[0])
    column = round((position.longitude - WEST) / step[1])
    for i in range(row - reach, row + reach + 1):
        for j in range(column - reach, column + reach + 1):
            if _is_inside((i, j), step):
                yield i, j


def _is_inside(node: tuple[int, int], step: tuple[float, float]) -> bool:
    return 0 <= node[0] * step[0] <= NORTH - SOUTH and 0 <= node[1] * step[1] <= EAST - WEST


def _jittered(node: tuple[int, int], step: tuple[float, float], seed: int, kind: str) -> Position:
    return Position(
        SOUTH + (node[0] + 0.6 * (fraction(seed, kind, node, "north") - 0.5)) * step[0],
        WEST + (node[1] + 0.6 * (fraction(seed, kind, node, "east") - 0.5)) * step[1],
    )


def _meeting_point(circles: Sequence[tuple[Position, float]]) -> Position:
    # Near transmitters say much more than far ones: the error of a distance grows with the distance.
    weights = [1.0 / distance_m**2 for _, distance_m in circles]
    total = sum(weights)
    return Position(
        sum(weight * place.latitude for weight, (place, _) in zip(weights, circles, strict=True)) / total,
        sum(weight * place.longitude for weight, (place, _) in zip(weights, circles, strict=True)) / total,
    )


def to_measurements(radio: RadioMap, position: Position, at: datetime, kinds: Collection[str]) -> dict[str, Any]:
    """Return the member `measurements` of a question to the gateway; `kinds` are gnss, wifi and cell."""
    found: dict[str, Any] = {"observedAt": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    if "gnss" in kinds:
        found["gnss"] = {"payload": base64.b64encode(gnss_payload(position, at)).decode()}
    if "wifi" in kinds:
        found["wifiAccessPoints"] = [_to_access_point(heard) for heard in radio.scan_wifi(position)]
    if "cell" in kinds:
        found["cellTowers"] = [_to_tower(heard) for heard in radio.scan_cells(position)]
    return found


def _to_access_point(heard: RadioAccessPoint) -> dict[str, Any]:
    address = ":".join(heard.bssid[start : start + 2] for start in range(0, 12, 2))
    return {"macAddress": address, "signalStrength": heard.rssi_dbm, "channel": heard.channel}


def _to_tower(heard: Cell) -> dict[str, Any]:
    tower: dict[str, Any] = {
        "radioType": "lte",
        "mobileCountryCode": MCC,
        "mobileNetworkCode": MNC,
        "physicalCellId": heard.physical_id,
        "channel": heard.earfcn,
        "signalStrength": heard.rsrp_dbm,
    }
    if heard.serving:
        # Modems know a neighbour by what they hear of it, not by its identity.
        tower.update(cellId=heard.cell_id, locationAreaCode=heard.area, serving=True)
    return tower
