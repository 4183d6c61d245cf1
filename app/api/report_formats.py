"""Reports as files: CSV, newline-delimited JSON, and GeoParquet where its library is installed."""

from collections.abc import AsyncGenerator, Mapping, Sequence

import orjson

from app.api import geoparquet
from app.api.csv_rows import to_csv_rows
from app.api.negotiation import preferred
from app.api.rendering import GEOJSON, JSON
from app.api.report_rendering import FLAT_MEMBERS, to_flat, to_report
from app.api.report_streams import Format, Slices
from app.errors import NotAcceptable
from app.reports import ReportRecord

CSV = "text/csv"
NDJSON = "application/x-ndjson"


async def _write_csv(slices: Slices) -> AsyncGenerator[bytes, None]:
    yield to_csv_rows([FLAT_MEMBERS])
    async for records in slices:
        yield _to_csv(records)


def _to_csv(records: Sequence[ReportRecord]) -> bytes:
    return to_csv_rows([flat[name] for name in FLAT_MEMBERS] for flat in map(to_flat, records))


async def _write_ndjson(slices: Slices) -> AsyncGenerator[bytes, None]:
    async for records in slices:
        yield b"".join(orjson.dumps(to_report(record), option=orjson.OPT_APPEND_NEWLINE) for record in records)


FORMATS = {
    CSV: Format(media_type=f"{CSV}; charset=utf-8; header=present", file_name="reports.csv", write=_write_csv),
    NDJSON: Format(media_type=NDJSON, file_name="reports.ndjson", write=_write_ndjson),
    **({geoparquet.PARQUET: geoparquet.FORMAT} if geoparquet.is_available() else {}),
}
"""By the media type that callers ask for."""


def chosen(accept: str | None, formats: Mapping[str, Format] = FORMATS) -> str:
    """Choose among JSON, GeoJSON and the formats what a caller likes best.

    Raises:
        NotAcceptable: The caller takes none of them, or only one that needs a library that is not installed. It is not
            offered then, so that callers who take another one as well get that.
    """
    try:
        return preferred(accept, (JSON, GEOJSON, *formats))
    except NotAcceptable as error:
        if geoparquet.PARQUET in (accept or "").lower() and geoparquet.PARQUET not in formats:
            raise NotAcceptable(f"{error} {geoparquet.HOW_TO_INSTALL}") from error
        raise
