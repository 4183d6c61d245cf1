"""The settings: safe, and written down in `.env.example` as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from app import registry
from app.observability.tracing import TracingSettings
from app.settings import Settings, is_loopback

ROOT = Path(__file__).parents[2]
KINDS: tuple[type[BaseSettings], ...] = (
    Settings,
    TracingSettings,
    *(provider.Settings for provider in registry.PROVIDERS),
)
_ASSIGNMENT = re.compile(r"^#?\s?([A-Z][A-Z0-9]*_[A-Z0-9_]+)=(.*)$", re.MULTILINE)


def variables() -> Iterator[tuple[str, Any]]:
    for kind in KINDS:
        for name, field in kind.model_fields.items():
            yield f"{kind.model_config.get('env_prefix', '')}{name}".upper(), field.default


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    return dict(_ASSIGNMENT.findall((ROOT / ".env.example").read_text()))


def written(default: Any) -> str:
    match default:
        case None:
            return ""
        case bool():
            return str(default).lower()
        case frozenset():
            return ",".join(f"{one:04x}" for one in default)
        case tuple():
            return ",".join(default)
    return str(default)


def alike(one: str, other: str) -> bool:
    """Compare as texts, as numbers, or as lists in any order."""
    if one == other or sorted(one.lower().split(",")) == sorted(other.lower().split(",")):
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def test_the_example_names_every_variable_and_nothing_else(example: dict[str, str]) -> None:
    assert set(example) == {name for name, _ in variables()}


def test_the_example_shows_the_defaults(example: dict[str, str]) -> None:
    shown = {name: example.get(name, "").strip().strip('"') for name, _ in variables()}

    wrong = {name: shown[name] for name, default in variables() if default is not None}
    wrong = {name: text for name, text in wrong.items() if not alike(text, written(dict(variables())[name]))}

    assert not wrong


def test_every_setting_is_described() -> None:
    assert not [
        (kind.__name__, name) for kind in KINDS for name, field in kind.model_fields.items() if not field.description
    ]


def test_no_two_providers_share_a_variable() -> None:
    names = [name for name, _ in variables()]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.example"])  # noqa: S104 -- refused
def test_open_doors_are_for_loopback_alone(host: str) -> None:
    with pytest.raises(ValidationError, match="GATEWAY_AUTH=off is refused"):
        Settings(auth="off", host=host)


def test_a_short_key_is_for_loopback_alone() -> None:
    assert Settings(api_key=SecretStr("short"), host="127.0.0.1").api_key

    with pytest.raises(ValidationError, match="GATEWAY_API_KEY is shorter than 16 characters") as caught:
        Settings(api_key=SecretStr("short"), host="10.0.0.1")

    assert "'short'" not in str(caught.value.errors(include_input=False))


@pytest.mark.parametrize(
    "url", ["http://gateway.example", "ftp://gateway.example", "gateway.example", "http://10.0.0.1"]
)
def test_callbacks_do_not_travel_in_plain_http(url: str) -> None:
    with pytest.raises(ValidationError, match="GATEWAY_PUBLIC_URL is no https address"):
        Settings(public_url=url)


@pytest.mark.parametrize("url", ["https://gateway.example", "http://127.0.0.1:8080", "http://[::1]:1/x", None])
def test_https_and_loopback_are_fine_for_callbacks(url: str | None) -> None:
    assert Settings(public_url=url).public_url == url


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_open_doors_are_possible_on_loopback(host: str) -> None:
    assert Settings(auth="off", host=host).auth == "off"


@pytest.mark.parametrize(
    ("host", "expected"), [("[::1]", True), ("127.0.0.1", True), ("localhost.example", False), ("", False)]
)
def test_loopback_is_recognized(host: str, expected: bool) -> None:  # noqa: FBT001 -- a column of the table
    assert is_loopback(host) is expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_secrets_never_show(kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    secret = [name for name, field in kind.model_fields.items() if "SecretStr" in str(field.annotation)]
    for name in secret:
        monkeypatch.setenv(f"{kind.model_config['env_prefix']}{name}".upper(), "postgresql://very-secret")

    shown = repr(kind())

    assert all(isinstance(getattr(kind(), name), SecretStr) for name in secret)
    assert "very-secret" not in shown


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "")
    monkeypatch.setenv("GATEWAY_PORT", "")

    assert (Settings().api_key, Settings().port) == (None, 8080)
