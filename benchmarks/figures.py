"""Prints what was measured, and whether it is good enough."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.load import Measured


def show(title: str, runs: Mapping[str, Sequence[Measured]]) -> None:
    """Print medians, and in brackets the slowest and the fastest round."""
    table = Table(title=title, title_justify="left")
    for heading in ("", "requests/s", "p50 ms", "p99 ms", "failed"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, measured in runs.items():
        rates = [run.per_s for run in measured]
        table.add_row(
            name,
            f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})",
            f"{statistics.median(run.p50_ms for run in measured):.2f}",
            f"{statistics.median(run.p99_ms for run in measured):.2f}",
            str(sum(run.failed for run in measured)),
        )
    Console().print(table)


def ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> float:
    """Compare rates round by round and give the median: in a noisy moment both of a round are slow."""
    return statistics.median(our.per_s / their.per_s for our, their in zip(ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure with what it must reach, and what it should."""

    name: str
    floor: float
    goal: float
    less: bool = False

    def judge(self, value: float) -> None:
        """Print the value and the verdict."""
        sign = -1 if self.less else 1
        reached = [sign * value >= sign * bound for bound in (self.floor, self.goal)]
        verdict = "goal reached" if reached[1] else "floor reached" if reached[0] else "NOT reached"
        print(f"{self.name:32} {value:7.2f}   floor {self.floor:g}, goal {self.goal:g}: {verdict}")
