"""Reading stored reports and latest positions; every read leaves an audit row."""

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
