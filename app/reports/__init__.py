"""What callers read of the stored reports: `reader` for reports, `positions` for maps; each leaves an audit row."""

from app.reports.reader import PAGE, PositionReader, ReportReader, ReportWithSource, record_read
from app.storage.reports import Box, Holder, Page, Place, Positions, ReportFilter, ReportRecord

__all__ = [
    "PAGE",
    "Box",
    "Holder",
    "Page",
    "Place",
    "PositionReader",
    "Positions",
    "ReportFilter",
    "ReportReader",
    "ReportRecord",
    "ReportWithSource",
    "record_read",
]
