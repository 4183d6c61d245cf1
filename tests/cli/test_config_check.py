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
    "THINGSPACE_KEY": "client-nobody-may-see",
    "THINGSPACE_SECRET": "secret-nobody-may-see",
    "THINGSPACE_USERNAME": "user-nobody-may-see",
    "THINGSPACE_PASSWORD": "word-nobody-may-see",
    "CLOUDLOCATE_URL": "https://vendor.example/position",
    "CLOUDLOCATE_USERNAME": "name-nobody-may-see",
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
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT", id="no scheme"),
        pytest.param({"GATEWAY_ENCRYPTION_KEY": "abc"}, "GATEWAY_ENCRYPTION_KEY: each key must have", id="short key"),
        pytest.param(
            {"GATEWAY_ENCRYPTION_KEY": f"{'k' * 32},abc"}, "GATEWAY_ENCRYPTION_KEY", id="one of two keys is short"
        ),
        pytest.param(
            {"THINGSPACE_KEY": "k", "THINGSPACE_USERNAME": "u"},
            "THINGSPACE_SECRET and THINGSPACE_PASSWORD are not set",
            id="half a login",
        ),
        pytest.param(
            {"CLOUDLOCATE_URL": "https://x.example"}, "CLOUDLOCATE_USERNAME and", id="an address without login"
        ),
        pytest.param(
            {
                "CLOUDLOCATE_URL": "https://x.example",
                "CLOUDLOCATE_USERNAME": "u",
                "CLOUDLOCATE_PASSWORD": "p",
                "CLOUDLOCATE_AUTH": "oauth2",
            },
            "CLOUDLOCATE_TOKEN_URL is not set",
            id="tokens from nowhere",
        ),
        pytest.param({"GATEWAY_PROT": "1"}, "GATEWAY_PROT is not known; did you mean GATEWAY_PORT?", id="a slip"),
        pytest.param({"THINGSPACE_USER_NAME": "1"}, "did you mean THINGSPACE_USERNAME?", id="a word too many"),
        pytest.param({"THINSPACE_KEY": "1"}, "did you mean THINGSPACE_KEY?", id="a slip in the prefix"),
        pytest.param({"cloudlocate_pasword": "1"}, "did you mean CLOUDLOCATE_PASSWORD?", id="in small letters"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    plain, as_json = check(), check("--json")

    assert plain.exit_code == as_json.exit_code == 3
    assert named in next(line for line in plain.output.splitlines() if line.startswith("wrong: "))
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

    assert result.exit_code == 3
    assert "nobody-may-see" not in result.output


def test_what_is_missing_is_pointed_out() -> None:
    notes = json.loads(check("--json").output)["notes"]

    assert any("GATEWAY_API_KEY" in note for note in notes)
    assert any("GATEWAY_PUBLIC_URL" in note for note in notes)


def test_settings_in_the_env_file_are_read(tmp_path: Any) -> None:
    (tmp_path / ".env").write_text("GATEWAY_PORT=9999\nTHINGSPACE_ACCOUNT=from-the-file\nSOMETHING_ELSE=1\n")

    settings = {one["name"]: one["value"] for one in json.loads(check("--json").output)["settings"]}

    assert (settings["GATEWAY_PORT"], settings["THINGSPACE_ACCOUNT"]) == ("9999", "from-the-file")


def test_a_slip_in_the_env_file_is_found_as_well(tmp_path: Any) -> None:
    (tmp_path / ".env").write_text("THINGSPACE_ACOUNT=1\n")

    assert "wrong: THINGSPACE_ACOUNT is not known; did you mean THINGSPACE_ACCOUNT?" in check().output


def test_a_variable_that_is_like_none_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SERVICE_HOST", "10.0.0.1")

    result = check()

    assert result.exit_code == 0
    assert "note: GATEWAY_SERVICE_HOST is not known" in result.output


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param(b"GATEWAY_PORT=8080\nGATEWAY_API_KEY: nobody-may-see\n", ".env, line 2", id="a colon"),
        pytest.param(b"GATEWAY_API_KEY='nobody-may-see\n", ".env, line 1", id="an open quote"),
        pytest.param(b"GATEWAY_API_KEY\n", ".env, line 1", id="no value"),
        pytest.param(b"GATEWAY_API_KEY=\xff\xfen\x00\n", "UTF-8", id="another encoding"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_line_of_the_env_file_that_cannot_be_read_is_named(
    tmp_path: Any, content: bytes, named: str, options: tuple[str, ...]
) -> None:
    (tmp_path / ".env").write_bytes(content)

    result = check(*options)

    assert result.exit_code == 3
    assert named in result.output
    assert "nobody-may-see" not in result.output


def test_only_what_is_set_is_listed_unless_everything_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "9999")

    few, everything = check(), check("--all")

    assert ("GATEWAY_PORT 9999" in few.output, "GATEWAY_WORKERS" in few.output) == (True, False)
    assert "GATEWAY_WORKERS 1" in everything.output
