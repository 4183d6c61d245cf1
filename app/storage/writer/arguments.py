"""From entries to the arguments of the statement that stores them: rows of types that the migrations make.

An array of rows is bound in less time than an array for each column, and opened in no more; JSON takes many times as
long to open. A type is never changed while gateways run that know it: another column means another type.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from app.ids import EPOCH
from app.model import Fix, Report, ReportError
from app.storage.rows import NewCallback, NewReport, NewSimpleFix
from app.storage.tables import REPORT_COLUMNS

Row: TypeAlias = tuple[Any, ...]

INSTANTS = {"at": "at_us", "received_at": "received_us"}
"""Columns that travel as microseconds since 1970, for which the driver takes a quarter of the time, by their names."""
_GIVEN_LATER = "session_id"
_OTHER_NAMES = {"latitude": "latitude_deg", "longitude": "longitude_deg"}
_MICROSECOND = timedelta(microseconds=1)


def _members(struct: type[msgspec.Struct], columns: Iterable[str], prefix: str = "") -> dict[str, str]:
    """Find which columns a struct fills, and with which of its members."""
    names = {column: _OTHER_NAMES.get(column, column.removeprefix(prefix)) for column in columns}
    return {
        column: name for column, name in names.items() if column.startswith(prefix) and name in struct.__struct_fields__
    }


def _getter(members: dict[str, str]) -> Callable[[object], Row]:
    return attrgetter(*members.values())


_sought = [column for column in REPORT_COLUMNS if column not in INSTANTS and column != _GIVEN_LATER]
_of_row = _members(NewReport, _sought)
_of_said = _members(Report, [column for column in _sought if column not in _of_row])
_of_fix = _members(Fix, [column for column in _sought if column not in _of_row | _of_said])
_of_error = _members(ReportError, [column for column in _sought if column not in _of_row | _of_said], "error_")
_row, _said, _fix, _error = map(_getter, (_of_row, _of_said, _of_fix, _of_error))
_no_fix, _no_error = (None,) * len(_of_fix), (None,) * len(_of_error)

REPORT_MEMBERS = (*_of_row, *_of_said, *_of_fix, *_of_error)
"""The columns that `REPORT_TYPE` has after the instants."""
REPORT_TYPE = f"new_report_{len(INSTANTS) + len(REPORT_MEMBERS)}"
"""The type of reports, named by the number of its members, so that another column makes another type."""
SIMPLE_FIX_TYPE = "new_simple_fix"
CALLBACK_TYPE = "new_callback"
CALLBACK_MEMBERS = ("id", "provider", "account", "service", "state", "signature", "reason", "flags")
"""What `CALLBACK_TYPE` has after the instant `received_us` and the body."""
_callback = attrgetter(*CALLBACK_MEMBERS)

if missing := [column for column in _sought if column not in REPORT_MEMBERS]:
    raise TypeError(f"nothing fills these columns of reports: {missing}")


def of_reports(reports: Iterable[NewReport]) -> list[Row]:
    """Make rows of `REPORT_TYPE`."""
    return [_of_report(report) for report in reports]


def _of_report(report: NewReport) -> Row:
    said = report.said
    fix = _no_fix if said.fix is None else _fix(said.fix)
    error = _no_error if said.error is None else _error(said.error)
    return (_us(report.at), _us(report.received_at), *_row(report), *_said(said), *fix, *error)


def of_callbacks(callbacks: Iterable[tuple[NewCallback, bytes]]) -> list[Row]:
    """Make rows of `CALLBACK_TYPE`, of callbacks and their bodies."""
    return [(_us(callback.received_at), body, *_callback(callback)) for callback, body in callbacks]


def of_simple_fixes(simple_fixes: Iterable[NewSimpleFix]) -> list[Row]:
    """Make rows of `SIMPLE_FIX_TYPE`."""
    return list(map(astuple, simple_fixes))


def _us(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND
