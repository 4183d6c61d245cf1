"""The requests of CloudLocate, as they stand on the wire; what is not listed is ignored."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

NegativeInteger = Annotated[int, Meta(lt=0)]
Whole = Annotated[int, Meta(ge=0)]


class Gnss(Struct, rename="pascal"):
    """GNSSMeasurements."""

    payload: str
    date_time: str | None = None


class AccessPointEntry(Struct, rename="pascal"):
    """One of WiFiMeasurements."""

    signal_strength: NegativeInteger
    bssid: Annotated[str, Meta(pattern="^[0-9a-fA-F]{12}$")] = field(name="BSSID")
    channel: int | None = None


class CellEntry(Struct, rename="pascal"):
    """One of NetworkCells: the serving cell or a neighbour."""

    signal_strength: NegativeInteger | None = None
    cell_identifier: Whole | None = None
    area_code: Whole | None = None
    code: Whole | None = None
    frequency: Whole | None = None
    is_serving_cell: bool = False


class Cells(Struct, rename="pascal"):
    """CellMeasurements."""

    network_cells: list[CellEntry]
    home_mcc: Annotated[int, Meta(ge=1, le=999)] = field(name="HomeMCC")
    home_mnc: Annotated[int, Meta(ge=0, le=999)] = field(name="HomeMNC")
    rat: Literal["GSM", "LTE", "LTECATM1"] = field(name="RAT")
    imei: str | None = field(name="IMEI", default=None)


class SolveRequest(Struct, rename="pascal"):
    """The body of a position call."""

    request_id: Annotated[str, Meta(max_length=60)] | None = None
    device_id: Annotated[str, Meta(max_length=32, pattern="^[a-zA-Z0-9:_-]+$")] | None = None
    gnss: Gnss | None = field(name="GNSSMeasurements", default=None)
    access_points: list[AccessPointEntry] | None = field(name="WiFiMeasurements", default=None)
    cells: Cells | None = field(name="CellMeasurements", default=None)


decoder = msgspec.json.Decoder(SolveRequest)
