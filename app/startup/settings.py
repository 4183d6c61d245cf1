"""All settings of the gateway, and what is wrong with them."""

from collections.abc import Sequence

import pydantic
from pydantic_settings import BaseSettings

from app.errors import SettingsInvalid
from app.observability.tracing import TracingSettings
from app.registry import PROVIDERS
from app.settings import Settings
from app.storage.urls import to_dsn

SETTINGS: tuple[type[BaseSettings], ...] = (
    Settings,
    TracingSettings,
    *(provider.Settings for provider in PROVIDERS),
)


def load_settings() -> Settings:
    """Read the gateway's own settings.

    Raises:
        SettingsInvalid: Some are not valid.
    """
    try:
        settings = Settings()
    except pydantic.ValidationError as error:
        raise refusal(invalid_settings(error)) from None
    problem = database_problem(settings)
    if problem is not None:
        raise refusal([problem])
    return settings


def refusal(problems: Sequence[str]) -> SettingsInvalid:
    """Refuse settings for what is wrong with them."""
    error = SettingsInvalid("; ".join(problems))
    error.problems = tuple(problems)
    return error


def database_problem(settings: Settings) -> str | None:
    """Say what is wrong with the address of the database, without repeating it."""
    if settings.database_url is None:
        return None
    try:
        to_dsn(settings.database_url.get_secret_value())
    except ValueError as error:
        return f"GATEWAY_DATABASE_URL: {error}"
    return None


def invalid_settings(error: pydantic.ValidationError) -> list[str]:
    """Name what is not valid by its environment variable, without repeating values."""
    prefix = next((str(kind.model_config.get("env_prefix")) for kind in SETTINGS if kind.__name__ == error.title), "")
    lines = []
    for one in error.errors(include_input=False, include_url=False):
        name = prefix + "_".join(str(part) for part in one["loc"]).upper() if one["loc"] else prefix + "*"
        lines.append(f"{name}: {one['msg'].removeprefix('Value error, ')}")
    return lines
