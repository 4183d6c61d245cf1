"""Reports as GeoParquet 1.1, row group by row group, so that memory stays bounded.

The columns are those of CSV, with types. The point of a fix stands in `geometry` as WKB, in longitude and latitude of
WGS 84 (OGC:CRS84, the default). There is no `covering`: the columns of the position say the same about a point.
"""

import asyncio
import io
import struct
from collections.abc import AsyncGenerator, Sequence
from importlib.util import find_spec
from typing import Any

import orjson

from app.api.report_rendering import FLAT_MEMBERS, to_flat
from app.api.report_streams import Format, Slices
from app.reports import ReportRecord

PARQUET = "application/vnd.apache.parquet"
HOW_TO_INSTALL = "GeoParquet needs pyarrow beside this gateway: pip install 'location-gateway[parquet]'."

_ROWS_OF_A_GROUP = 10_000
_POINT = struct.Struct("<BIdd")
_LITTLE_ENDIAN, _POINT_TYPE = 1, 1


def is_available() -> bool:
    """Return whether the optional library is installed."""
    return find_spec("pyarrow") is not None


async def _write(slices: Slices) -> AsyncGenerator[bytes, None]:
    # Writing a row group takes long enough to keep others waiting, and Arrow computes outside of Python's lock.
    file = await asyncio.to_thread(_File)
    waiting: list[ReportRecord] = []
    async for records in slices:
        waiting += records
        if len(waiting) >= _ROWS_OF_A_GROUP:
            yield await asyncio.to_thread(file.add, waiting)
            waiting = []
    if waiting:
        yield await asyncio.to_thread(file.add, waiting)
    yield await asyncio.to_thread(file.end)


FORMAT = Format(media_type=PARQUET, file_name="reports.parquet", write=_write)


class _File:
    """A file that is taken away while it is written."""

    def __init__(self) -> None:
        # Optional, and slow to import.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        self._to_table = pa.Table.from_pylist
        self._schema = _schema()
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._bounds: tuple[float, float, float, float] | None = None

    def add(self, records: Sequence[ReportRecord]) -> bytes:
        """Write a row group; return its bytes."""
        self._writer.write_table(self._to_table([_to_row(record) for record in records], self._schema))
        self._bounds = _bounds_of(records, self._bounds)
        return self._sink.take()

    def end(self) -> bytes:
        """Write the end of the file, which describes the geometry; return its bytes."""
        self._writer.add_key_value_metadata({"geo": orjson.dumps(_metadata(self._bounds)).decode()})
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Holds what was written since the last time it was taken; knows how much there was before."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._taken = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken + len(self._written)

    def write(self, data: Any, /) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        """Take what was written."""
        written = bytes(self._written)
        self._taken += len(written)
        self._written.clear()
        return written


def _schema() -> Any:
    import pyarrow as pa  # noqa: PLC0415

    instant = pa.timestamp("us", "UTC")
    types = {
        **dict.fromkeys(("latitude", "longitude", "accuracy"), pa.float64()),
        **dict.fromkeys(("timestamp", "errorTimestamp", "receivedAt"), instant),
        **dict.fromkeys(("cached", "qosMet"), pa.bool_()),
        "confidence": pa.int32(),
        "flags": pa.list_(pa.string()),
    }
    columns = [(name, types.get(name, pa.string())) for name in FLAT_MEMBERS]
    return pa.schema([*columns, ("geometry", pa.binary())])


def _to_row(report: ReportRecord) -> dict[str, Any]:
    is_located = report.status == "located"
    return {
        **to_flat(report),
        "timestamp": report.at if is_located else None,
        "errorTimestamp": report.error_at,
        "receivedAt": report.received_at,
        "geometry": _POINT.pack(_LITTLE_ENDIAN, _POINT_TYPE, report.longitude, report.latitude) if is_located else None,
    }


def _bounds_of(
    records: Sequence[ReportRecord], before: tuple[float, float, float, float] | None
) -> tuple[float, float, float, float] | None:
    """Extend bounds (west, south, east, north) by the positions of reports."""
    points = [(one.longitude, one.latitude) for one in records if one.status == "located"]
    points += [(before[0], before[1]), (before[2], before[3])] if before else []
    known = [(longitude, latitude) for longitude, latitude in points if longitude is not None and latitude is not None]
    if not known:
        return None
    longitudes, latitudes = zip(*known, strict=True)
    return min(longitudes), min(latitudes), max(longitudes), max(latitudes)


def _metadata(bounds: tuple[float, float, float, float] | None) -> dict[str, Any]:
    geometry: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Point"] if bounds else []}
    if bounds is not None:
        geometry["bbox"] = bounds
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
