"""The `THINGSPACE_*` settings."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from app import identifiers
from app.model import ProviderName
from app.settings import ENVIRONMENT, ProviderSettings, is_loopback

NAME = ProviderName("thingspace")


class ThingSpaceSettings(ProviderSettings):
    """Where ThingSpace is, who we are there, and how it is to be spoken to."""

    model_config = SettingsConfigDict(env_prefix="THINGSPACE_", **ENVIRONMENT)

    base_url: str = Field(
        default="https://thingspace.verizon.com/api",
        description="root of the API; /ts/v1, /m2m/v1 and /loc/v1 are appended",
    )
    oauth_url: str | None = Field(default=None, description="address of the OAuth API, instead of {base}/ts/v1")
    m2m_url: str | None = Field(default=None, description="address of the session API, instead of {base}/m2m/v1")
    location_url: str | None = Field(default=None, description="address of the location API, instead of {base}/loc/v1")
    key: SecretStr | None = Field(default=None, description="OAuth client key")
    secret: SecretStr | None = Field(default=None, description="OAuth client secret")
    username: SecretStr | None = Field(default=None, description="UWS user name for the M2M login")
    password: SecretStr | None = Field(default=None, description="UWS password for the M2M login")
    account: Annotated[str, AfterValidator(identifiers.account)] | None = Field(
        default=None, description="billing account used when a request names none"
    )
    directory: bool = Field(
        default=True, description="complete devices from ThingSpace's own device list, which is not billed"
    )
    radius_confidence: int | None = Field(
        default=None,
        ge=1,
        le=99,
        description="level assumed for ThingSpace's circles, percent; it declares none itself",
    )
    allow_http: bool = Field(default=False, description="allow plain http to hosts other than this machine")
    callback_token: SecretStr | None = Field(
        default=None,
        description="fixes the callback token of the default account's DeviceLocation listener, registered by hand",
    )
    callback_secret: SecretStr | None = Field(
        default=None, description="shared secret of the listener that THINGSPACE_CALLBACK_TOKEN fixes"
    )
    callback_secret_header: str | None = Field(
        default=None,
        description="header of the registration reply that carries the shared secret; unset: the likeliest one",
    )
    callback_signature: Literal["off", "log", "enforce"] = Field(
        default="log", description="what a missing or wrong callback signature leads to"
    )
    callback_signature_header: str = Field(
        default="X-Callback-Signature", description="header of a callback that carries its signature"
    )
    callback_signature_encoding: Literal["hex", "base64"] = Field(
        default="hex", description="how the signature is written"
    )
    periodic_numbers: Literal["strings", "integers"] = Field(
        default="strings", description="how the numbers of a periodic start are sent"
    )
    stop_mdn_encoding: Literal["repeated", "comma"] = Field(
        default="repeated", description="how the MDNs of a periodic stop stand in the address"
    )
    timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=60, description="longest wait for one answer; finding a device anew takes a while"
    )
    connect_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=5, description="longest wait for a connection to be made"
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="connections to ThingSpace per process"
    )
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="how often a call is repeated when ThingSpace cannot have begun the work"
    )

    @field_validator("base_url", "oauth_url", "m2m_url", "location_url")
    @classmethod
    def _is_safe_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an address such as https://thingspace.verizon.com/api")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        for address in (self.oauth, self.m2m, self.location):
            parts = urlsplit(address)
            if parts.scheme == "http" and not self.allow_http and not is_loopback(parts.hostname or ""):
                raise ValueError("plain http is for this machine only; use https, or set THINGSPACE_ALLOW_HTTP=true")
        return self

    @property
    def oauth(self) -> str:
        """Address of the OAuth API."""
        return self.oauth_url or f"{self.base_url}/ts/v1"

    @property
    def m2m(self) -> str:
        """Address of the connectivity API, which holds the login."""
        return self.m2m_url or f"{self.base_url}/m2m/v1"

    @property
    def location(self) -> str:
        """Address of the Device Location API."""
        return self.location_url or f"{self.base_url}/loc/v1"

    @property
    def key_material(self) -> bytes:
        """The secrets among the credentials; empty when none is set."""
        return f"{secret_text(self.secret)}\n{secret_text(self.password)}".encode().strip()

    @property
    def needed(self) -> Mapping[str, bool]:
        """Return for each of the four credentials whether it is set."""
        credentials = {"KEY": self.key, "SECRET": self.secret, "USERNAME": self.username, "PASSWORD": self.password}
        return {f"THINGSPACE_{name}": bool(secret_text(secret)) for name, secret in credentials.items()}

    @property
    def configured(self) -> bool:
        """Whether all four credentials are there."""
        return not self.missing


def secret_text(secret: SecretStr | None) -> str:
    """Take the text out of a secret; empty when unset."""
    return secret.get_secret_value() if secret else ""
