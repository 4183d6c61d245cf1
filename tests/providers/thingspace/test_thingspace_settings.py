from typing import Any

import pytest
from pydantic import ValidationError
from thingspace_stand_in import StandIn, query, soon

from app.providers import thingspace
from app.providers.thingspace.settings import ThingSpaceSettings


def test_the_production_addresses_are_the_default() -> None:
    settings = ThingSpaceSettings()

    assert settings.oauth == "https://thingspace.verizon.com/api/ts/v1"
    assert settings.m2m == "https://thingspace.verizon.com/api/m2m/v1"
    assert settings.location == "https://thingspace.verizon.com/api/loc/v1"


def test_each_address_can_be_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_BASE_URL", "https://staging.example/api/")
    monkeypatch.setenv("THINGSPACE_OAUTH_URL", "https://oauth.example/")
    monkeypatch.setenv("THINGSPACE_LOCATION_URL", "http://127.0.0.1:9/loc")

    settings = ThingSpaceSettings()

    assert (settings.oauth, settings.m2m, settings.location) == (
        "https://oauth.example",
        "https://staging.example/api/m2m/v1",
        "http://127.0.0.1:9/loc",
    )


@pytest.mark.parametrize("address", ["http://example.com", "ftp://example.com", "example.com", "https://"])
@pytest.mark.parametrize("name", ["BASE_URL", "OAUTH_URL", "M2M_URL", "LOCATION_URL"])
def test_tokens_are_sent_over_https_only(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    monkeypatch.setenv(f"THINGSPACE_{name}", address)

    with pytest.raises(ValidationError):
        ThingSpaceSettings()


@pytest.mark.parametrize("address", ["http://localhost:8081/api", "http://127.0.0.1/api", "http://[::1]:1/api"])
def test_loopback_needs_no_https(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("THINGSPACE_BASE_URL", address)

    assert ThingSpaceSettings().base_url == address


def test_plain_http_to_another_host_has_to_be_allowed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_BASE_URL", "http://simulator:9090/api")
    monkeypatch.setenv("THINGSPACE_ALLOW_HTTP", "true")

    assert ThingSpaceSettings().base_url == "http://simulator:9090/api"


@pytest.mark.parametrize("name", ["KEY", "SECRET", "USERNAME", "PASSWORD"])
async def test_all_four_credentials_are_needed(build: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert build().configured

    monkeypatch.delenv(f"THINGSPACE_{name}")

    assert not build().configured


def test_secrets_are_not_shown() -> None:
    shown = repr(ThingSpaceSettings())

    assert "'secret'" not in shown
    assert "'pass'" not in shown


def test_the_secrets_can_seal_what_is_stored(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing = build().key_material
    monkeypatch.setenv("THINGSPACE_PASSWORD", "another")

    assert sealing
    assert build().key_material != sealing
    assert repr(sealing) not in repr(build())


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ThingSpaceSettings.model_fields.values())


async def test_without_any_settings_the_provider_can_still_read_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY", "SECRET", "USERNAME", "PASSWORD", "ACCOUNT"):
        monkeypatch.delenv(f"THINGSPACE_{name}")

    provider = thingspace.build()
    await provider.aclose()

    assert (provider.configured, provider.default_account) == (False, None)
    assert provider.callbacks


async def test_what_is_missing_of_the_login_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET", "PASSWORD"):
        monkeypatch.delenv(f"THINGSPACE_{name}")

    provider = thingspace.build()
    await provider.aclose()

    health = provider.health()
    assert (health.state, health.notes) == ("not_configured", ("set THINGSPACE_SECRET, THINGSPACE_PASSWORD",))


async def test_calls_go_where_the_settings_say(build: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THINGSPACE_BASE_URL", "http://127.0.0.1:8081/api")

    await build().locator.locate(query(), request_id="r", deadline=soon())

    assert str(stand_in.requests[0].url) == "http://127.0.0.1:8081/api/loc/v1/locations"
