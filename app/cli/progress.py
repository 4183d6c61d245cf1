"""How far a long command has come: a bar on a terminal, a line now and then elsewhere; both on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from app.cli.output import errors, print_error

_EVERY_S = 5.0


class Advance(Protocol):
    """Takes note of units that have been done."""

    def __call__(self, count: int, total: int | None = None) -> None:
        """Count them; a total that has become known, or has changed, replaces the one before."""


@contextmanager
def progress(what: str, total: int | None, unit: str, *, every_s: float = _EVERY_S) -> Iterator[Advance]:
    """Show how far something has come; the block calls what it is given with each number of units done.

    Args:
        what: What is being done, such as `Replaying`.
        total: How many units there are; None if unknown.
        unit: What is counted, in the plural.
        every_s: How often a line is printed where there is no terminal.
    """
    if errors().is_terminal:
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _Lines(what, total, unit, every_s).advance


@contextmanager
def _bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors()) as bar:
        task = bar.add_task(what, total=total)

        def advance(count: int, total: int | None = None) -> None:
            bar.update(task, advance=count, total=total)

        yield advance


class _Lines:
    """Progress as lines of text, one every few seconds and one at the end."""

    def __init__(self, what: str, total: int | None, unit: str, every_s: float) -> None:
        self._what, self._total, self._unit, self._every_s = what, total, unit, every_s
        self._done = 0
        self._began = self._told = time.monotonic()

    def advance(self, count: int, total: int | None = None) -> None:
        """Count what has been done, and print a line if it is time."""
        self._done += count
        self._total = self._total if total is None else total
        now = time.monotonic()
        if now - self._told >= self._every_s or (count and self._done == self._total):
            self._told = now
            print_error(f"{self._what}: {self._how_far()}{self._how_long(now - self._began)}")

    def _how_far(self) -> str:
        if not self._total:
            return f"{self._done:,} {self._unit}"
        return f"{self._done:,} of {self._total:,} {self._unit} ({100 * self._done // self._total} %)"

    def _how_long(self, spent_s: float) -> str:
        left = (self._total or 0) - self._done
        if left <= 0 or not self._done:
            return ""
        return f", about {_duration(spent_s * left / self._done)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
