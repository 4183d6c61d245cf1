"""Checks of the settings that need neither the database nor the network."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

import pydantic
from pydantic_settings import BaseSettings

from app.observability.tracing import TracingSettings
from app.settings import ENV_FILE, SHORTEST_KEY, ProviderSettings, Settings
from app.startup.env_file import EnvFile, read_env_file
from app.startup.settings import SETTINGS, database_problem, invalid_settings

# OpenTelemetry has more variables than are listed here, for many programs at once.
_PREFIXES = tuple(str(kind.model_config.get("env_prefix")) for kind in SETTINGS if kind is not TracingSettings)
_ALIKE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The settings, their errors and their warnings.

    Every message names an environment variable, and none repeats a value.

    Attributes:
        settings: Each with its name, its value unless it is a secret, whether it is set, and its description.
        invalid: What keeps the gateway from starting.
        mistakes: What is wrong and does not keep it from starting.
        notes: What is right and may surprise.
        unused: Providers that are not used, because of what is not set.
    """

    settings: list[dict[str, Any]] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong."""
        return self.invalid + self.mistakes


def check_configuration() -> Configuration:
    """Look at all settings of the environment and of `.env`."""
    file = read_env_file(ENV_FILE)
    if not file.is_readable:
        return Configuration(invalid=list(file.problems))
    found = Configuration(mistakes=list(file.problems))
    for kind in SETTINGS:
        try:
            settings = kind()
        except pydantic.ValidationError as error:
            found.invalid.extend(invalid_settings(error))
            continue
        if isinstance(settings, Settings):
            found.invalid.extend(filter(None, [database_problem(settings)]))
        found.settings.extend(_values(settings))
        found.mistakes.extend(_mistakes_of(settings))
        found.notes.extend(_notes_of(settings))
        if isinstance(settings, ProviderSettings) and settings.missing and not settings.is_half_set:
            found.unused.append(f"{_list(settings.missing)} not set: the provider is not used")
    mistakes, notes = _unknown_variables(file)
    found.mistakes.extend(mistakes)
    found.notes.extend(notes)
    return found


def _values(settings: BaseSettings) -> Iterator[dict[str, Any]]:
    for name, about in type(settings).model_fields.items():
        value = getattr(settings, name)
        yield {
            "name": _variable(type(settings), name),
            "value": None if value is None else str(value),
            "set": name in settings.model_fields_set,
            "description": about.description,
        }


def _variable(kind: type[BaseSettings], name: str) -> str:
    return f"{kind.model_config.get('env_prefix')}{name}".upper()


def _mistakes_of(settings: BaseSettings) -> Iterator[str]:
    match settings:
        case Settings():
            yield from filter(None, [_weak_encryption_key(settings)])
        case TracingSettings():
            for name in ("exporter_otlp_endpoint", "exporter_otlp_traces_endpoint"):
                endpoint = getattr(settings, name)
                if endpoint and urlsplit(endpoint.get_secret_value()).scheme not in {"http", "https"}:
                    yield f"{_variable(TracingSettings, name)}: must begin with http:// or https://"
        case ProviderSettings():
            if settings.is_half_set:
                yield f"{_list(settings.missing)} not set, and the provider cannot be used without"


def _weak_encryption_key(settings: Settings) -> str | None:
    """Name an encryption key that can be guessed."""
    if settings.encryption_key is None:
        return None
    keys = [key.strip() for key in settings.encryption_key.get_secret_value().split(",")]
    if all(len(key) >= SHORTEST_KEY for key in keys):
        return None
    return (
        f"GATEWAY_ENCRYPTION_KEY: each key must have at least {SHORTEST_KEY} characters; make one with: "
        "openssl rand -hex 32"
    )


def _notes_of(settings: BaseSettings) -> Iterator[str]:
    """List what is valid but probably not intended."""
    if not isinstance(settings, Settings):
        return
    if settings.auth == "on" and settings.api_key is None:
        yield "GATEWAY_API_KEY is not set: only keys made with `location-gateway keys create` open this gateway"
    if settings.encryption_key is None and settings.database_url is not None:
        yield (
            "GATEWAY_ENCRYPTION_KEY is not set: stored secrets are sealed with the providers' credentials, and a "
            "listener has to be registered again when these change"
        )
    if settings.public_url is None:
        yield "GATEWAY_PUBLIC_URL is not set: listeners can only be registered with an address named in the request"


def _list(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def _unknown_variables(file: EnvFile) -> tuple[list[str], list[str]]:
    """Find variables that look like ours and are not known: those like a known one as mistakes, others as notes."""
    known = [_variable(kind, name) for kind in SETTINGS for name in kind.model_fields]
    mistakes, notes = [], []
    for name in dict.fromkeys([*os.environ, *file.names]):
        written = name.upper()
        if written in known or not _looks_like_ours(written, known):
            continue
        nearest = get_close_matches(written, known, n=1, cutoff=_ALIKE)
        if nearest:
            mistakes.append(f"{name} is not known; did you mean {nearest[0]}?")
        else:
            notes.append(f"{name} is not known, and has no effect")
    return mistakes, notes


def _looks_like_ours(name: str, known: list[str]) -> bool:
    """Check for one of our prefixes, or a misspelt prefix before a known name."""
    if name.startswith(_PREFIXES):
        return True
    prefix, _, rest = name.partition("_")
    nearest = get_close_matches(f"{prefix}_", _PREFIXES, n=1, cutoff=_ALIKE)
    return bool(nearest) and nearest[0] + rest in known
