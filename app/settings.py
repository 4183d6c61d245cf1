"""The gateway's own settings; each provider reads its own from its folder."""

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SHORTEST_KEY = 16
ENV_FILE = Path(".env")
ENVIRONMENT = SettingsConfigDict(env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_safe_to_post_to(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def _origin_of(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"


class ProviderSettings(BaseSettings):
    """The settings of a provider, which is left out as long as some that it needs are missing."""

    @property
    def needed(self) -> Mapping[str, bool]:
        """Return for each variable that a call needs whether it is set."""
        return {}

    @property
    def missing(self) -> tuple[str, ...]:
        """Name the variables without which no call can be made."""
        return tuple(name for name, is_set in self.needed.items() if not is_set)

    @property
    def is_half_set(self) -> bool:
        """Whether some variables that a call needs are set, and others are not."""
        return 0 < len(self.missing) < len(self.needed)


class Settings(BaseSettings):
    """Settings named `GATEWAY_*`, from the environment or `.env`."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", **ENVIRONMENT)

    database_url: SecretStr | None = Field(
        default=None, description="Postgres; unset: embedded Postgres in GATEWAY_DATA_DIR"
    )
    database_direct_url: SecretStr | None = Field(
        default=None,
        description="the same database past a pooler in transaction mode, for what needs a connection of its own",
    )
    database_read_url: SecretStr | None = Field(
        default=None, description="hot standbys of the same database, for pages and exports; the primary stands in"
    )
    data_dir: Path = Field(default=Path(".data"), description="where embedded Postgres keeps its files")
    postgres_bin: Path | None = Field(
        default=None, description="folder with Postgres programs to use instead of the packaged ones"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="port to listen on")
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="server processes")
    api_key: SecretStr | None = Field(default=None, description="bootstrap API key with every scope")
    auth: Literal["on", "off"] = Field(default="on", description="off is refused unless listening on loopback only")
    encryption_key: SecretStr | None = Field(
        default=None, description="seals stored secrets; several, separated by commas, rotate it (first one seals)"
    )
    public_url: str | None = Field(default=None, description="address under which ThingSpace reaches the gateway")
    listener_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="other addresses that lead to the gateway, for listeners; separated by commas"
    )
    cors_origins: str | None = Field(
        default=None,
        description="origins whose pages may use the API from a browser, separated by commas, or *; unset: none",
    )
    map_style_url: str | None = Field(
        default=None,
        description="a MapLibre style for the map, which then loads from its host; unset: an outline of the world",
    )
    recent_seconds: Annotated[int, Field(ge=0)] = Field(
        default=300, description="a stored fix this young answers when maxAge is absent"
    )
    reuse_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0, description="how long an identical question may get the same answer; 0: off"
    )
    cooldown_after: Annotated[int, Field(ge=0)] = Field(
        default=10, description="failures of a provider in a row after which it is left alone for a while; 0: never"
    )
    cooldown_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=15, description="how long a failing provider is left alone before one request probes it"
    )
    report_grace_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=30,
        description="a periodic report this late counts as missing (a tenth of the interval if more, never above one)",
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4 * 1024 * 1024,
        description="larger request bodies get 413, with or without their Content-Encoding (gzip, deflate)",
    )
    callback_max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=1024 * 1024, description="larger callbacks get 413, with or without their Content-Encoding"
    )
    read_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        default=30, description="a request that takes longer to arrive gets 408, and its connection is closed"
    )
    max_connections: Annotated[int, Field(ge=0)] = Field(
        default=20_000, description="connections per process; beyond it requests get 503; 0: no limit"
    )
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        default=5, description="on SIGTERM, how long to go on serving as not ready, before new connections are refused"
    )
    late_answer_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        default=20, description="on stopping, how long vendors' answers are waited for that are paid for already"
    )
    callback_queue: Annotated[int, Field(ge=1)] = Field(
        default=20_000, description="callbacks that may wait for their commit; beyond it they get 503 with Retry-After"
    )
    database_pool: Annotated[int, Field(ge=1, le=200)] = Field(
        default=10, description="database connections per process, beside the callback writer's own"
    )
    delivery_allow: Annotated[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], NoDecode] = Field(
        default=(),
        description="networks that events may be delivered to although they are private, over http too; commas between",
    )
    retention_days: Annotated[int | None, Field(ge=0, le=36_500)] = Field(
        default=None,
        description="days that data is kept, where its kind has no number of its own; unset or 0: for good",
    )
    retention_reports_days: Annotated[int | None, Field(ge=0, le=36_500)] = Field(
        default=None, description="days that reports, positions and what they taught are kept"
    )
    retention_callbacks_days: Annotated[int | None, Field(ge=0, le=36_500)] = Field(
        default=None, description="days that raw callbacks are kept"
    )
    retention_sessions_days: Annotated[int | None, Field(ge=0, le=36_500)] = Field(
        default=None, description="days that periodic sessions are kept after their end"
    )
    retention_audit_days: Annotated[int | None, Field(ge=0, le=36_500)] = Field(
        default=None, description="days that the audit trail is kept"
    )
    retention_days_events: Annotated[int, Field(ge=0, le=36_500)] = Field(
        default=7, description="days that events are kept for readers to go on from; 0: for good"
    )
    metrics_public: bool = Field(default=False, description="serve /metrics without an API key")
    log_format: Literal["json", "text"] | None = Field(
        default=None, description="json or text; unset: text on a terminal, json elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")

    @property
    def direct_database_url(self) -> str | None:
        """The configured database, past a pooler where there is one; None where the embedded one is used."""
        url = self.database_direct_url or self.database_url
        return url.get_secret_value() if url is not None else None

    @property
    def address(self) -> str:
        """The address that the gateway names as its own: the public one, else the one that it listens on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may use the API."""
        return tuple(origin.strip() for origin in (self.cors_origins or "").split(",") if origin.strip())

    def retention(self) -> dict[str, timedelta]:
        """Return how long each kind of data is kept; kinds that are kept for good are left out."""
        own = {
            "reports": self.retention_reports_days,
            "callbacks": self.retention_callbacks_days,
            "sessions": self.retention_sessions_days,
            "audit": self.retention_audit_days,
            "events": self.retention_days_events,
            # What cannot be delivered any more need not be listed either.
            "deliveries": self.retention_days_events,
        }
        days = {kind: self.retention_days if count is None else count for kind, count in own.items()}
        return {kind: timedelta(days=count) for kind, count in days.items() if count}

    @field_validator("cors_origins")
    @classmethod
    def _has_origins(cls, value: str | None) -> str | None:
        for origin in (value or "").split(","):
            parts = urlsplit(origin.strip())
            is_origin = parts.scheme in {"http", "https"} and parts.hostname and parts.geturl() == _origin_of(parts)
            if origin.strip() not in {"", "*"} and not is_origin:
                raise ValueError("each origin must be like https://map.example.com, without a path, or *")
        return value

    @field_validator("map_style_url")
    @classmethod
    def _is_absolute(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "")
        # It stands in a policy, where blanks, commas and semicolons would end it.
        is_plain = parts.hostname and not set(parts.netloc) & set(" ,;'\"")
        if value is not None and not (parts.scheme in {"http", "https"} and is_plain):
            raise ValueError("must be an address like https://tiles.example.com/style.json")
        return value

    @field_validator("public_url")
    @classmethod
    def _has_no_trailing_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else None

    @field_validator("delivery_allow", mode="before")
    @classmethod
    def _to_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        except ValueError:
            raise ValueError("each must be a network such as 10.20.0.0/16, or a single address") from None

    @field_validator("listener_urls", mode="before")
    @classmethod
    def _are_safe_to_post_to(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = tuple(url.strip() for url in value.split(",") if url.strip())
        if not all(map(_is_safe_to_post_to, urls)):
            raise ValueError("each must begin with https:// (http:// is for loopback addresses only)")
        return urls

    @model_validator(mode="after")
    def _is_safe(self) -> "Settings":
        if self.auth == "off" and not is_loopback(self.host):
            raise ValueError(
                "GATEWAY_AUTH=off is refused unless GATEWAY_HOST is a loopback address; "
                "set GATEWAY_AUTH=on and GATEWAY_API_KEY"
            )
        key = self.api_key.get_secret_value() if self.api_key is not None else None
        if key is not None and len(key) < SHORTEST_KEY and not is_loopback(self.host):
            raise ValueError(
                f"GATEWAY_API_KEY is shorter than {SHORTEST_KEY} characters, which is refused unless GATEWAY_HOST is a "
                "loopback address; make one with: openssl rand -hex 24"
            )
        if self.public_url is not None and not _is_safe_to_post_to(self.public_url):
            raise ValueError(
                "GATEWAY_PUBLIC_URL is no https address; plain http is only for loopback, because callbacks hold "
                "positions"
            )
        return self
