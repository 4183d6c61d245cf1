"""Reads the settings of the gateway, and names invalid ones by their environment variables."""

from collections.abc import Sequence

import pydantic
from pydantic_settings import BaseSettings

from app.errors import SettingsInvalid
from app.observability.tracing import TracingSettings
from app.registry import PROVIDERS
from app.settings import ENV_FILE, Settings
from app.startup.env_file import read_env_file
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
    file = read_env_file(ENV_FILE)
    if not file.is_readable:
        raise refusal(file.problems)
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
    """Describe what is wrong with the database URLs, without repeating them."""
    urls = {
        "GATEWAY_DATABASE_URL": settings.database_url,
        "GATEWAY_DATABASE_DIRECT_URL": settings.database_direct_url,
        "GATEWAY_DATABASE_READ_URL": settings.database_read_url,
    }
    for name, url in urls.items():
        try:
            to_dsn(url.get_secret_value() if url else "postgresql://")
        except ValueError as error:
            return f"{name}: {error}"
    if settings.database_url is None and settings.database_direct_url is not None:
        return "GATEWAY_DATABASE_DIRECT_URL: set GATEWAY_DATABASE_URL as well, to the pooler"
    if settings.database_url is None and settings.database_read_url is not None:
        return "GATEWAY_DATABASE_READ_URL: set GATEWAY_DATABASE_URL as well, to the primary"
    return None


def invalid_settings(error: pydantic.ValidationError) -> list[str]:
    """Name what is not valid by its environment variable, without repeating values."""
    prefix = next((str(kind.model_config.get("env_prefix")) for kind in SETTINGS if kind.__name__ == error.title), "")
    lines = []
    for one in error.errors(include_input=False, include_url=False):
        name = prefix + "_".join(str(part) for part in one["loc"]).upper() if one["loc"] else prefix + "*"
        lines.append(f"{name}: {one['msg'].removeprefix('Value error, ')}")
    return lines
