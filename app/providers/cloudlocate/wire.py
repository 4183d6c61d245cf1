"""CloudLocate's JSON, field for field (Location Services API 1.3.2).

Requests leave out what is None; bytes become padded base64 of the standard alphabet. Replies are read leniently:
any type is let in, and `mapping` decides what it is worth.
"""

from typing import Any, Literal

import msgspec

Rat = Literal["GSM", "LTE", "LTECATM1"]


class GnssMeasurements(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A UBX measurement; `date_time` is UTC in whole seconds without a suffix."""

    payload: bytes = msgspec.field(name="Payload")
    date_time: str | None = msgspec.field(name="DateTime", default=None)


class WiFiMeasurement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One access point; `bssid` is twelve hexadecimal digits without separators."""

    bssid: str = msgspec.field(name="BSSID")
    signal_strength: int = msgspec.field(name="SignalStrength")
    channel: int | None = msgspec.field(name="Channel", default=None)


class NetworkCell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One cell; neighbours carry neither identifier, area code nor the serving mark."""

    cell_identifier: int | None = msgspec.field(name="CellIdentifier", default=None)
    area_code: int | None = msgspec.field(name="AreaCode", default=None)
    signal_strength: int | None = msgspec.field(name="SignalStrength", default=None)
    code: int | None = msgspec.field(name="Code", default=None)
    frequency: int | None = msgspec.field(name="Frequency", default=None)
    is_serving_cell: bool = msgspec.field(name="IsServingCell", default=False)


class CellMeasurements(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A modem's scan; "home" is the serving network, which is what locates a roaming device too."""

    home_mcc: int = msgspec.field(name="HomeMCC")
    home_mnc: int = msgspec.field(name="HomeMNC")
    imei: str | None = msgspec.field(name="IMEI", default=None)
    rat: Rat = msgspec.field(name="RAT")
    network_cells: list[NetworkCell] = msgspec.field(name="NetworkCells")


class PositionRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of the position call; `request_id` is for tracing and makes no repetition safe."""

    request_id: str = msgspec.field(name="RequestId")
    device_id: str | None = msgspec.field(name="DeviceId", default=None)
    gnss: GnssMeasurements | None = msgspec.field(name="GNSSMeasurements", default=None)
    wifi: list[WiFiMeasurement] | None = msgspec.field(name="WiFiMeasurements", default=None)
    cell: CellMeasurements | None = msgspec.field(name="CellMeasurements", default=None)


class PositionReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; the names beside `Location` are those of the MQTT interface, should they ever turn up."""

    location: Any = msgspec.field(name="Location", default=None)
    lat: Any = msgspec.field(name="Lat", default=None)
    lon: Any = msgspec.field(name="Lon", default=None)
    unc68: Any = msgspec.field(name="Unc68", default=None)
    acc: Any = msgspec.field(name="Acc", default=None)
    date_time: Any = msgspec.field(name="DateTime", default=None)
    request_id: Any = msgspec.field(name="RequestId", default=None)
    device_id: Any = msgspec.field(name="DeviceId", default=None)
    location_source: Any = msgspec.field(name="LocationSource", default=None)


class TokenReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the token operation, by the names of RFC 6749."""

    access_token: Any = None
    expires_in: Any = None
    refresh_token: Any = None


to_json = msgspec.json.Encoder().encode
read_position = msgspec.json.Decoder(PositionReply).decode
read_token = msgspec.json.Decoder(TokenReply).decode
