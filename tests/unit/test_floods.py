"""A flood of warnings leaves a few lines of each kind, and a count of the others."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from app.observability.floods import FloodLimit


class Stage:
    """A log with a flood limit, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._capture = LogCapture()
        limit = FloodLimit(most=2, clock=lambda: self.now, later=self._later)
        # Whatever an application of another test has set, its least level above all, does not hold here.
        wrapper = structlog.make_filtering_bound_logger(0)
        structlog.configure(processors=[limit, self._capture], wrapper_class=wrapper)
        self.log = structlog.get_logger()

    def _later(self, after_s: float, call: Callable[[], None]) -> None:
        self._due.append((self.now + after_s, call))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for call in [call for at, call in self._due if at <= self.now]:
            call()
        self._due = [(at, call) for at, call in self._due if at > self.now]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [{name: value for name, value in line.items() if name != "log_level"} for line in self._capture.entries]


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield Stage()
    structlog.reset_defaults()


def test_a_flood_is_cut_to_a_few_lines_and_a_count(stage: Stage) -> None:
    for number in range(100):
        stage.log.warning("refused", code="NOT_FOUND", number=number)
    stage.wait(1)

    assert stage.lines == [
        {"event": "refused", "code": "NOT_FOUND", "number": 0},
        {"event": "refused", "code": "NOT_FOUND", "number": 1},
        {"event": "more lines of one kind left out", "of": "refused", "code": "NOT_FOUND", "count": 98},
    ]


def test_a_flood_of_one_kind_hides_no_other(stage: Stage) -> None:
    for _ in range(100):
        stage.log.warning("refused", code="NOT_FOUND")
    stage.log.warning("refused", code="UNAVAILABLE")
    stage.log.error("failed")

    assert [line.get("code") for line in stage.lines] == ["NOT_FOUND", "NOT_FOUND", "UNAVAILABLE", None]


def test_what_goes_on_is_counted_second_by_second(stage: Stage) -> None:
    for _ in range(3):
        for _ in range(10):
            stage.log.error("failed")
        stage.wait(1)

    assert [line["count"] for line in stage.lines if "count" in line] == [8, 8, 8]
    assert len(stage.lines) == 9


def test_seldom_lines_all_pass(stage: Stage) -> None:
    for _ in range(10):
        stage.log.warning("refused")
        stage.wait(0.6)

    assert len(stage.lines) == 10


def test_what_is_no_warning_is_never_left_out(stage: Stage) -> None:
    for _ in range(10):
        stage.log.info("request")

    assert len(stage.lines) == 10
