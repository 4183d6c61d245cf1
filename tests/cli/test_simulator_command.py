from typer.testing import CliRunner

from app.cli import app


def test_an_unknown_spelling_is_refused_with_those_that_are_known() -> None:
    result = CliRunner().invoke(app, ["simulator", "--spelling", "no_such_thing"])

    assert result.exit_code == 2
    assert "no_such_thing" in result.output
    assert "qos_flipped" in result.output


def test_an_unknown_consent_is_refused() -> None:
    result = CliRunner().invoke(app, ["simulator", "--consent", "perhaps"])

    assert result.exit_code == 2
    assert "coarse" in result.output
