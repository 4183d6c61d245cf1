"""Long commands say how far they have come: lines where nobody watches."""

import pytest

from app.cli import output
from app.cli.progress import progress


@pytest.fixture(autouse=True)
def _new_consoles() -> None:
    output.errors.cache_clear()


def test_at_the_end_a_line_says_that_everything_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Replaying", 1000, "callbacks") as advance:
        advance(400)
        advance(600)
        advance(0)

    assert capsys.readouterr().err == "Replaying: 1,000 of 1,000 callbacks (100 %)\n"


def test_on_the_way_lines_come_now_and_then_with_an_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Replaying", 1000, "callbacks", every_s=0) as advance:
        advance(250)

    assert "Replaying: 250 of 1,000 callbacks (25 %), about 0 s left\n" in capsys.readouterr().err


def test_without_a_total_it_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Exporting", None, "reports", every_s=0) as advance:
        advance(1500)

    assert capsys.readouterr().err == "Exporting: 1,500 reports\n"


def test_a_total_may_become_known_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Erasing", None, "steps") as advance:
        advance(0, 3)
        advance(3, 3)

    assert capsys.readouterr().err == "Erasing: 3 of 3 steps (100 %)\n"


def test_on_a_terminal_it_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")

    with progress("Replaying", 1000, "callbacks") as advance:
        advance(1000, 1000)

    shown = capsys.readouterr().err
    assert "Replaying" in shown
    assert "1000/1000" in shown
