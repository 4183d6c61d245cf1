"""Reading reports: by filter in pages, one by id, the latest of a device, and everything that matches."""

from app.storage.reports.export import export
from app.storage.reports.filters import Box, ReportCursor, ReportFilter
from app.storage.reports.latest import Holder, Positions, latest_of_device, latest_of_mdn, positions_page
from app.storage.reports.pages import ReportPage, find, page
from app.storage.reports.records import ReportRecord

__all__ = [
    "Box",
    "Holder",
    "Positions",
    "ReportCursor",
    "ReportFilter",
    "ReportPage",
    "ReportRecord",
    "export",
    "find",
    "latest_of_device",
    "latest_of_mdn",
    "page",
    "positions_page",
]
