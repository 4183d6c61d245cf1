"""Reports as they are read: plain tuples, because a page of mapped objects costs more than its query."""

from collections import namedtuple
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.storage.tables import REPORT_COLUMNS, ReportRow

if TYPE_CHECKING:
    ReportRecord = ReportRow

    def to_record(values: Iterable[Any]) -> ReportRecord:
        """Make a record of the values of `COLUMNS`."""
else:
    ReportRecord = namedtuple("ReportRecord", REPORT_COLUMNS)  # noqa: PYI024 -- the types are those of `ReportRow`
    to_record = ReportRecord._make

COLUMNS = ", ".join(f"r.{column.name}" for column in REPORT_COLUMNS.values())
"""The columns in the order of a record, of a table named `r`."""


def record_of(row: ReportRow) -> ReportRecord:
    """Copy a mapped row."""
    return to_record(getattr(row, member) for member in REPORT_COLUMNS)
