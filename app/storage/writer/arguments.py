"""From entries to the arguments of the statement that stores them.

What differs from row to row travels as arrays, a column each. Everything else is the same for most rows of a batch:
these traits travel once, as JSON, and each row tells the number of its own.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec

from app.storage.rows import EPOCH, NewCallback, NewReport

REPORT_COLUMNS = ("id", "transaction_id", "device", "mdn", "latitude", "longitude", "accuracy_m", "callback_id")
REPORT_TRAITS = (
    "provider",
    "type",
    "status",
    "account",
    "device_kind",
    "name",
    "confidence_pct",
    "source",
    "cached",
    "error_type",
    "error_info",
    "error_at",
    "flags",
    "kind_in_words",
    "raw",
)
CALLBACK_TRAITS = ("provider", "account", "service", "state", "signature", "reason", "flags")

_report_columns = attrgetter(*REPORT_COLUMNS)
_report_traits = attrgetter(*REPORT_TRAITS)
_callback_traits = attrgetter(*CALLBACK_TRAITS)
_encode = msgspec.json.Encoder().encode
_MICROSECOND = timedelta(microseconds=1)

Columns = tuple[Sequence[Any], ...]


def of_reports(reports: Sequence[NewReport]) -> Columns:
    """Make traits, numbers of traits, times, times of arrival, and the other columns."""
    traits, numbers = _numbered(map(_report_traits, reports))
    return (
        _json(REPORT_TRAITS, traits),
        numbers,
        _times(report.at for report in reports),
        _times(report.received_at for report in reports),
        *(tuple(zip(*map(_report_columns, reports), strict=True)) or ((),) * len(REPORT_COLUMNS)),
    )


def of_callbacks(callbacks: Sequence[NewCallback], bodies: Sequence[bytes]) -> Columns:
    """Make traits, numbers of traits, times of arrival, ids, and bodies."""
    traits, numbers = _numbered(map(_callback_traits, callbacks))
    times = _times(callback.received_at for callback in callbacks)
    return (_json(CALLBACK_TRAITS, traits), numbers, times, [callback.id for callback in callbacks], bodies)


def _numbered(given: Iterable[tuple[Any, ...]]) -> tuple[Iterable[tuple[Any, ...]], list[int]]:
    """Number what is different, from 1, in the order of its first appearance."""
    known: dict[tuple[Any, ...], int] = {}
    numbers = [known.setdefault(one, len(known) + 1) for one in given]
    return known, numbers


def _times(instants: Iterable[datetime]) -> list[int]:
    # As microseconds since 1970: the driver takes four times as long for instants.
    return [(instant - EPOCH) // _MICROSECOND for instant in instants]


def _json(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> str:
    return _encode([dict(zip(names, row, strict=True)) for row in rows]).decode()
