"""`location-gateway config check`: valid or not, complete or not, and never a secret."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import app

VALID = {
    "GATEWAY_API_KEY": "key-nobody-may-see",
    "GATEWAY_DATABASE_URL": "postgresql://user:password-nobody-may-see@db.example/gateway",
    "GATEWAY_ENCRYPTION_KEY": "seal-nobody-may-see",
    "GATEWAY_PUBLIC_URL": "https://gateway.example",
    "THINGSPACE_SECRET": "secret-nobody-may-see",
    "THINGSPACE_PASSWORD": "word-nobody-may-see",
    "CLOUDLOCATE_PASSWORD": "thing-nobody-may-see",
}


def check(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["config", "check", *options])


@pytest.fixture
def valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALID.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("valid")
def test_valid_settings_are_said_to_be_valid() -> None:
    result = check()

    assert result.exit_code == 0
    assert "The settings are valid." in result.output
    assert "note:" not in result.output


@pytest.mark.usefixtures("valid")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_secrets_are_never_printed(options: tuple[str, ...]) -> None:
    result = check(*options)

    assert "GATEWAY_API_KEY" in result.output
    assert "nobody-may-see" not in result.output


@pytest.mark.usefixtures("valid")
def test_the_same_as_json() -> None:
    answer: dict[str, Any] = json.loads(check("--json").output)

    settings = {one["name"]: one for one in answer["settings"]}
    assert (answer["valid"], answer["problems"], answer["notes"]) == (True, [], [])
    assert settings["GATEWAY_PORT"]["value"] == "8080"
    assert (settings["GATEWAY_PORT"]["set"], settings["GATEWAY_PUBLIC_URL"]["set"]) == (False, True)
    assert settings["THINGSPACE_BASE_URL"]["description"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        pytest.param({"GATEWAY_PORT": "many"}, "GATEWAY_PORT", id="no number"),
        pytest.param({"GATEWAY_AUTH": "maybe"}, "GATEWAY_AUTH", id="no such word"),
        pytest.param(
            {"GATEWAY_AUTH": "off", "GATEWAY_HOST": "10.0.0.1"},
            "GATEWAY_*: GATEWAY_AUTH=off is refused",
            id="open doors",
        ),
        pytest.param({"THINGSPACE_BASE_URL": "http://vendor.example"}, "THINGSPACE_", id="plain http"),
        pytest.param({"GATEWAY_DATABASE_URL": "mysql://db.example/x"}, "GATEWAY_DATABASE_URL", id="no Postgres"),
        pytest.param({"CLOUDLOCATE_URL": "nowhere"}, "CLOUDLOCATE_URL", id="no address"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    plain, as_json = check(), check("--json")

    assert plain.exit_code == as_json.exit_code == 1
    assert f"wrong: {named}" in plain.output
    answer = json.loads(as_json.output)
    assert answer["valid"] is False
    assert any(named in problem for problem in answer["problems"])


def test_several_wrong_classes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "many")
    monkeypatch.setenv("THINGSPACE_TIMEOUT_S", "-1")

    problems = json.loads(check("--json").output)["problems"]

    assert len(problems) == 2


def test_a_wrong_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLOCATE_URL", "https://user:nobody-may-see@vendor.example/")

    result = check()

    assert result.exit_code == 1
    assert "nobody-may-see" not in result.output


def test_what_is_missing_is_pointed_out() -> None:
    notes = json.loads(check("--json").output)["notes"]

    assert any("GATEWAY_API_KEY" in note for note in notes)
    assert any("GATEWAY_PUBLIC_URL" in note for note in notes)


def test_settings_in_the_env_file_are_read(tmp_path: Any) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PORT=9999\nTHINGSPACE_ACCOUNT=from-the-file\nSOMETHING_ELSE=1\n")

    settings = {one["name"]: one["value"] for one in json.loads(check("--json").output)["settings"]}

    assert (settings["GATEWAY_PORT"], settings["THINGSPACE_ACCOUNT"]) == ("9999", "from-the-file")
