"""From measurements to an answer: the first of GNSS, Wi-Fi and cell that can be solved."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from app.simulator.state import State
from app.simulator.vendors.cloudlocate import ubx
from app.simulator.vendors.cloudlocate.refusal import CloudLocateRefused
from app.simulator.vendors.cloudlocate.wire import AccessPointEntry, Cells, Gnss, SolveRequest
from app.simulator.world.gnss import solve_gnss
from app.simulator.world.ground import Position, fraction

_WIFI_ACCURACY_M, _CELL_ACCURACY_M = 30.0, 800.0
_FEWEST_ACCESS_POINTS, _MOST_ACCESS_POINTS = 2, 25
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Solution:
    """A position, how good it is, and which kind of measurement it comes from: gnss, wifi or cell."""

    position: Position
    accuracy_m: float
    kind: str


def solve(request: SolveRequest, state: State) -> Solution | None:
    """Check every part of the request, then solve the first part that can be.

    Raises:
        Refused: A part is malformed, or there is none.
    """
    if request.gnss is None and request.access_points is None and request.cells is None:
        raise CloudLocateRefused(400, "At least one kind of measurement is required")
    candidates = [
        _by_gnss(request.gnss, state) if request.gnss is not None else None,
        _by_wifi(request.access_points, state) if request.access_points is not None else None,
        _by_cell(request.cells, state) if request.cells is not None else None,
    ]
    return next((found for found in candidates if found is not None), None)


def to_time(text: str) -> datetime:
    """Read the one form of time there is: UTC in whole seconds, without suffix."""
    try:
        if _TIME.fullmatch(text):
            return datetime.fromisoformat(text + "+00:00").astimezone(UTC)
    except ValueError as error:
        raise CloudLocateRefused(400, "DateTime is no time") from error
    raise CloudLocateRefused(400, "DateTime must be like 2026-01-31T23:59:59")


def _by_gnss(gnss: Gnss, state: State) -> Solution | None:
    data = ubx.decode_base64(gnss.payload)
    if gnss.date_time is not None:
        to_time(gnss.date_time)
    for found in ubx.measurements(data, strict_checksum=state.options.cloudlocate_strict_checksum):
        position = solve_gnss(found.payload) if found.has_satellites else None
        if position is not None:
            return _solution(position, ubx.ACCURACY_M[found.message], "gnss")
    return None


def _by_wifi(access_points: list[AccessPointEntry], state: State) -> Solution | None:
    if len(access_points) < _FEWEST_ACCESS_POINTS:
        raise CloudLocateRefused(400, "At least two access points are required")
    heard = ((ap.bssid.lower(), ap.signal_strength) for ap in access_points[:_MOST_ACCESS_POINTS])
    position = state.world.radio.solve_wifi(heard)
    return _solution(position, _WIFI_ACCURACY_M, "wifi") if position is not None else None


def _by_cell(cells: Cells, state: State) -> Solution | None:
    serving = next((cell.cell_identifier for cell in cells.network_cells if cell.is_serving_cell), None)
    if serving is None:
        raise CloudLocateRefused(400, "A serving cell with CellIdentifier is required")
    position = state.world.radio.solve_cell(cells.home_mcc, cells.home_mnc, serving)
    return _solution(position, _CELL_ACCURACY_M, "cell") if position is not None else None


def _solution(position: Position, accuracy_m: float, kind: str) -> Solution:
    variation = 0.9 + 0.2 * fraction("accuracy", position.latitude, position.longitude)
    return Solution(position, round(accuracy_m * variation, 2), kind)
