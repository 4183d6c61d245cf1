"""What a device measures where it is, in the gateway's words, which are those of Google's geolocation format."""

import base64
from collections.abc import Collection
from datetime import datetime
from typing import Any

from app.simulator.world.gnss import gnss_payload
from app.simulator.world.ground import Position
from app.simulator.world.radio import MCC, MNC, Cell, RadioAccessPoint, RadioMap


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
