"""What commands print: text and tables for people, JSON for programs."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_FRACTION = re.compile(r"(?<=T\d\d:\d\d:\d\d)\.\d+Z$")

Row = Mapping[str, Any]


@cache
def console() -> "Console":
    """Open standard output."""
    from rich.console import Console

    return Console()


@cache
def errors() -> "Console":
    """Open standard error."""
    from rich.console import Console

    return Console(stderr=True)


def print_line(text: str, *, label: str = "", style: str = "") -> None:
    """Print a line on standard output, whole, however narrow the terminal is; the label in front of it in a style."""
    _print(console(), text, label, style)


def print_error(text: str, *, label: str = "", style: str = "red") -> None:
    """Print a line on standard error, whole."""
    _print(errors(), text, label, style)


def _print(to: "Console", text: str, label: str, style: str) -> None:
    from rich.text import Text

    to.print(Text.assemble((label, style), " " if label and text else "", text), soft_wrap=True)


def show_json(value: Any) -> None:
    """Print JSON for other programs to read."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
    sys.stdout.flush()


def show_table(rows: Sequence[Row], columns: Mapping[str, str], *, to: "Console | None" = None) -> None:
    """Print rows as a table; `columns` maps members to headings, and members may be nested: `device.imei`.

    On a narrow terminal nothing is cut off; ids, which are there to be copied, are not even wrapped.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, heading in columns.items():
        table.add_column(heading, no_wrap=name == "id", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_to_cell(_member(row, name))) for name in columns))
    (to or console()).print(table, highlight=False)


def show_members(row: Row, names: Mapping[str, str]) -> None:
    """Print one thing, a line for each of its members; those without a value are left out."""
    width = max(map(len, names.values()))
    for name, heading in names.items():
        cell = _to_cell(_member(row, name))
        if cell:
            print_line(cell, label=f"{heading:<{width}} ", style="bold")


def _member(row: Any, name: str) -> Any:
    for part in name.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row


def _to_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_to_cell, value))
    return _FRACTION.sub("Z", str(value))
