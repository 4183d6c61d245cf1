"""How measuring is done: how long, how often, and on which cores."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def cores() -> list[int]:
    """List the cores this process may use; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


_CORES = cores()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure with.

    Attributes:
        rounds: How often everything is measured, in turn, so that a noisy moment hits everybody.
        seconds: How long one measurement lasts.
    """

    rounds: int
    seconds: int

    @property
    def wrk(self) -> str | None:
        """The load generator, if it is installed."""
        return shutil.which("wrk")

    def describe(self) -> str:
        """Say under which conditions the figures come about."""
        load = self.wrk or "the bundled one (wrk is not installed); it is slower, which favours slow subjects"
        pinned = (
            f"subjects on core {_CORES[0]}, everything else on the other {len(_CORES) - 1}"
            if is_pinned()
            else "not pinned to cores"
        )
        return (
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {pinned}; load generator: {load}; "
            f"medians of {self.rounds} rounds of {self.seconds} s"
        )


def is_pinned() -> bool:
    """Tell whether subject and load are kept apart."""
    return len(_CORES) > 1


@contextmanager
def on_the_subjects_core() -> Iterator[None]:
    """Start processes on the core of those that are measured."""
    with _on(_CORES[:1]):
        yield


@contextmanager
def on_the_other_cores() -> Iterator[None]:
    """Start processes where they do not disturb those that are measured."""
    with _on(_CORES[1:]):
        yield


@contextmanager
def _on(wanted: list[int]) -> Iterator[None]:
    # A child inherits the cores of its parent from its first instruction on, before it can start threads.
    if not is_pinned():
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
