"""Reading stored reports and latest positions; every read leaves an audit row."""

from app.reports.reader import PAGE, PositionReader, ReportReader, ReportWithSource, record_read
from app.storage.reports import Box, Holder, Positions, ReportCursor, ReportFilter, ReportPage, ReportRecord

__all__ = [
    "PAGE",
    "Box",
    "Holder",
    "PositionReader",
    "Positions",
    "ReportCursor",
    "ReportFilter",
    "ReportPage",
    "ReportReader",
    "ReportRecord",
    "ReportWithSource",
    "record_read",
]
