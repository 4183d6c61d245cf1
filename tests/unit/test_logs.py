"""A log that cannot be written to takes nothing else down."""

import io
from collections.abc import Iterator

import pytest
import structlog

from app.observability import logs
from app.settings import Settings


class FullDisk(io.TextIOWrapper):
    """Standard error on a disk without any room left."""

    def __init__(self) -> None:
        super().__init__(FullBytes())

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class FullBytes(io.BytesIO):
    def write(self, line: object) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_lines_that_cannot_be_written_are_lost_in_silence(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", FullDisk())
    logs.configure_logs(Settings(log_format=log_format))  # type: ignore[arg-type]  # one of the two

    structlog.get_logger().error("nobody will read this")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_lines_for_a_file_that_is_closed_are_lost_in_silence(log_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stderr", closed)
    logs.configure_logs(Settings(log_format=log_format))  # type: ignore[arg-type]  # one of the two
    closed.close()

    structlog.get_logger().error("nobody will read this")
