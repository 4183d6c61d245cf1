from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudlocate_stage import Vendor, by_wifi, make_settings, soon
from pydantic import ValidationError

from app.providers import cloudlocate
from app.providers.cloudlocate.settings import CloudLocateSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"CLOUDLOCATE_{name}", raising=False)


async def test_it_is_built_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLOCATE_URL", "https://cloudlocate.example/position")
    monkeypatch.setenv("CLOUDLOCATE_USERNAME", "thing")
    monkeypatch.setenv("CLOUDLOCATE_PASSWORD", "secret")
    monkeypatch.setenv("CLOUDLOCATE_ALLOWED_UBX_IDS", "0214,0286")

    provider = cloudlocate.build(httpx.MockTransport(Vendor()))
    located = await provider.locator.locate(by_wifi(), request_id="r", deadline=soon())
    await provider.aclose()

    assert provider.configured
    assert provider.health().state == "ready"
    assert located.fix.provider == provider.name == cloudlocate.NAME


async def test_without_an_address_it_is_not_configured_and_says_what_is_missing() -> None:
    provider = cloudlocate.build()
    await provider.aclose()

    assert not provider.configured
    assert provider.health().state == "not_configured"
    assert "CLOUDLOCATE_URL" in provider.health().notes[0]
    assert provider.locator.assess(by_wifi()).usable


def test_the_transport_must_be_one() -> None:
    with pytest.raises(TypeError):
        cloudlocate.build("https://cloudlocate.example")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, ()),
        ({"password": None}, ("CLOUDLOCATE_PASSWORD",)),
        ({"auth": "oauth2"}, ("CLOUDLOCATE_TOKEN_URL",)),
        ({"auth": "oauth2", "token_url": "https://cloudlocate.example/token"}, ()),
    ],
)
def test_what_is_missing_depends_on_the_scheme(given: dict[str, Any], missing: tuple[str, ...]) -> None:
    assert make_settings(**given).missing == missing


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://cloudlocate.example/position"},
        {"token_url": "http://cloudlocate.example/token"},
        {"url": "cloudlocate.example/position"},
        {"url": "ftp://cloudlocate.example/position"},
        {"url": "https://thing:secret@cloudlocate.example/position"},
        {"allowed_ubx_ids": "RXM"},
        {"checksum_policy": "hope"},
    ],
)
def test_unsafe_and_unreadable_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_settings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1:9000/position"},
        {"url": "http://localhost/position"},
        {"url": "http://[::1]/position"},
        {"url": "http://cloudlocate.example/position", "allow_http": True},
    ],
)
def test_plain_http_is_for_this_machine_or_by_choice(given: dict[str, Any]) -> None:
    assert make_settings(**given).url == given["url"]


def test_message_ids_are_read_in_hex_with_or_without_a_slash() -> None:
    assert make_settings(allowed_ubx_ids="02/14, 0286").allowed_ubx_ids == {0x0214, 0x0286}


def test_secrets_do_not_show() -> None:
    shown = repr(make_settings())

    assert "secret" not in shown
    assert "'thing'" not in shown


def test_every_setting_is_described() -> None:
    assert all(field.description for field in CloudLocateSettings.model_fields.values())
