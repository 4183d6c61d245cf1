"""From entries to the arguments of the statement that stores them.

What differs from row to row travels as arrays, a column each. Everything else is the same for most rows of a batch:
these traits travel once, as JSON, and each row tells the number of its own.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from app.storage.rows import NewCallback, NewReport

REPORT_COLUMNS = (
    "at",
    "id",
    "transaction_id",
    "device",
    "mdn",
    "latitude",
    "longitude",
    "accuracy_m",
    "received_at",
    "callback_id",
)
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
CALLBACK_COLUMNS = ("received_at", "id")
CALLBACK_TRAITS = ("provider", "account", "service", "state", "signature", "reason", "flags")

_report_columns = attrgetter(*REPORT_COLUMNS)
_report_traits = attrgetter(*REPORT_TRAITS)
_callback_columns = attrgetter(*CALLBACK_COLUMNS)
_callback_traits = attrgetter(*CALLBACK_TRAITS)
_encode = msgspec.json.Encoder().encode

Columns = tuple[Sequence[Any], ...]


def of_reports(reports: Sequence[NewReport]) -> Columns:
    """Make traits, numbers of traits, and columns."""
    traits, numbers = _numbered(map(_report_traits, reports))
    return (_json(REPORT_TRAITS, traits), numbers, *_columns(map(_report_columns, reports), len(REPORT_COLUMNS)))


def of_callbacks(callbacks: Sequence[NewCallback], bodies: Sequence[bytes]) -> Columns:
    """Make traits, numbers of traits, bodies, and columns."""
    traits, numbers = _numbered(map(_callback_traits, callbacks))
    columns = _columns(map(_callback_columns, callbacks), len(CALLBACK_COLUMNS))
    return (_json(CALLBACK_TRAITS, traits), numbers, bodies, *columns)


def _numbered(given: Iterable[tuple[Any, ...]]) -> tuple[Iterable[tuple[Any, ...]], list[int]]:
    """Number what is different, from 1, in the order of its first appearance."""
    known: dict[tuple[Any, ...], int] = {}
    numbers = [known.setdefault(one, len(known) + 1) for one in given]
    return known, numbers


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> Columns:
    return tuple(zip(*rows, strict=True)) or ((),) * width


def _json(names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> str:
    return _encode([dict(zip(names, row, strict=True)) for row in rows]).decode()
