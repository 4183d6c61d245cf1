"""A device's measurements in requests: GNSS raw data, Wi-Fi scans and cell scans."""

import base64
import binascii
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.api.schemas.base import Instant, Schema
from app.errors import FieldError, InvalidArgument
from app.model import AccessPoint, CellTower, Evidence, GnssEvidence

_MAC = re.compile(
    r"[0-9a-f]{12}|[0-9a-f]{2}([:.-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|[0-9a-f]{4}([.:-])[0-9a-f]{4}\2[0-9a-f]{4}"
)
# Base64 of a whole UBX frame starts with "tWI", which is no hexadecimal; a bare payload is at least 16 characters.
_HEXADECIMAL = re.compile(r"(?=.*[0-9])(0[xX])?([0-9A-Fa-f]{2}[:-]?){8,}")
_URL_SAFE = str.maketrans("-_", "+/")
_MOST_SCANNED = 1000


def _decode_base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a text in base64")
    if value.lstrip()[:5].lower() == "data:":
        raise PydanticCustomError("base64", "is a data: URL; send the base64 that follows the comma alone")
    text = "".join(value.split())
    if _HEXADECIMAL.fullmatch(text):
        raise PydanticCustomError("base64", "looks like hexadecimal; send the same bytes in base64")
    text = text.rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "must be base64 of the receiver's message, standard or URL-safe") from None


def _to_mac(value: str) -> str:
    text = value.strip().lower()
    written = _MAC.fullmatch(text)
    if written is None:
        raise PydanticCustomError(
            "mac_address", "must be a MAC address: 12 hexadecimal digits, with ':', '-', '.' or none between"
        )
    return text.replace(written[1] or written[2] or ":", "")


Payload = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": r"^[A-Za-z0-9+/_\s-]*[=\s]*$"}),
]
Mac = Annotated[str, AfterValidator(_to_mac)]
Dbm = Annotated[float, Field(ge=-(2**31), le=2**31)]
Natural = Annotated[int, Field(ge=0, le=2**53)]


class GnssMeasurement(Schema):
    """A u-blox receiver's raw measurement."""

    payload: Annotated[
        Payload, Field(description="one or several UBX-RXM-MEASX, -MEAS50, -MEAS20 or -MEASC12 messages, in base64")
    ]
    observed_at: Annotated[Instant | None, Field(description="time of the measurement, RFC 3339 with offset")] = None


class ScannedAccessPoint(Schema):
    """One access point of a Wi-Fi scan."""

    mac_address: Annotated[Mac, Field(description="12 hexadecimal digits, optionally separated by `:`, `-` or `.`")]
    signal_strength: Annotated[Dbm | None, Field(description="dBm, negative")] = None
    channel: Annotated[Natural | None, Field(description="Wi-Fi channel number")] = None

    def to_access_point(self) -> AccessPoint:
        """Turn it into the gateway's access point."""
        return AccessPoint(mac=self.mac_address, signal_dbm=_whole(self.signal_strength), channel=self.channel)


class ScannedCellTower(Schema):
    """A cell of a scan.

    The serving cell needs radioType, mobileCountryCode, mobileNetworkCode and cellId; a neighbour needs physicalCellId
    and channel.
    """

    radio_type: Annotated[
        str | None,
        Field(min_length=1, max_length=16, description="`gsm`, `lte` or `ltem`; towers of other types are not used"),
    ] = None
    mobile_country_code: Annotated[Natural | None, Field(le=999, description="MCC of the serving network")] = None
    mobile_network_code: Annotated[Natural | None, Field(le=999, description="MNC of the serving network")] = None
    location_area_code: Annotated[Natural | None, Field(description="LAC (GSM) or TAC (LTE)")] = None
    cell_id: Annotated[Natural | None, Field(description="cell id; LTE: the 28-bit E-UTRAN cell id")] = None
    physical_cell_id: Annotated[Natural | None, Field(description="LTE physical cell id; GSM: BSIC")] = None
    channel: Annotated[Natural | None, Field(description="EARFCN (LTE) or ARFCN (GSM)")] = None
    signal_strength: Annotated[Dbm | None, Field(description="dBm: RSRP (LTE) or RXLEV (GSM)")] = None
    serving: Annotated[bool | None, Field(description="whether the device is camped on this cell")] = None

    def lacking_to_serve(self) -> list[str]:
        """List what it needs to be the serving cell, and does not have."""
        needed = {
            "radioType": self.radio_type,
            "mobileCountryCode": self.mobile_country_code,
            "mobileNetworkCode": self.mobile_network_code,
            "cellId": self.cell_id,
        }
        return [name for name, value in needed.items() if value is None]

    def to_cell_tower(self, *, serving: bool) -> CellTower:
        """Turn it into the gateway's cell."""
        return CellTower(
            radio=self.radio_type.lower() if self.radio_type else None,
            mobile_country_code=self.mobile_country_code,
            mobile_network_code=self.mobile_network_code,
            area_code=self.location_area_code,
            cell_id=self.cell_id,
            physical_cell_id=self.physical_cell_id,
            channel=self.channel,
            signal_dbm=_whole(self.signal_strength),
            serving=serving,
        )


class Measurements(Schema):
    """The device's measurements: one group, or several together."""

    observed_at: Annotated[Instant | None, Field(description="time of the scans, RFC 3339 with offset")] = None
    gnss: GnssMeasurement | None = None
    wifi_access_points: Annotated[list[ScannedAccessPoint] | None, Field(max_length=_MOST_SCANNED)] = None
    cell_towers: Annotated[list[ScannedCellTower] | None, Field(max_length=_MOST_SCANNED)] = None

    def to_evidence(self) -> Evidence:
        """Turn it into the gateway's evidence.

        Raises:
            InvalidArgument: The serving cell lacks what it needs.
        """
        gnss = self.gnss
        return Evidence(
            gnss=None if gnss is None else GnssEvidence(payload=gnss.payload, observed_at=gnss.observed_at),
            access_points=tuple([point.to_access_point() for point in self.wifi_access_points or ()]),
            cell_towers=_to_cell_towers(self.cell_towers) if self.cell_towers else (),
            observed_at=self.observed_at,
        )


def _to_cell_towers(towers: list[ScannedCellTower]) -> tuple[CellTower, ...]:
    # Google's format has no mark for the serving cell: it is the first one that is named in full.
    marked = any(tower.serving for tower in towers)
    first = (
        None
        if marked
        else next((tower for tower in towers if not tower.lacking_to_serve() and tower.serving is None), None)
    )
    serving = [bool(tower.serving) or tower is first for tower in towers]
    errors = [
        FieldError(pointer=f"/measurements/cellTowers/{index}/{name}", code="MISSING", detail="a serving cell needs it")
        for index, (tower, serves) in enumerate(zip(towers, serving, strict=True))
        if serves
        for name in tower.lacking_to_serve()
    ]
    if errors:
        raise InvalidArgument("The serving cell is not described in full.", errors=tuple(errors))
    return tuple(tower.to_cell_tower(serving=serves) for tower, serves in zip(towers, serving, strict=True))


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
