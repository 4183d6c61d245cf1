"""The settings of CloudLocate, `CLOUDLOCATE_*`."""

import base64
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from app.settings import ENVIRONMENT, ProviderSettings, is_loopback

ChecksumPolicy = Literal["reject", "warn", "repair", "ignore"]
FramePolicy = Literal["wrap", "strip", "passthrough"]


class CloudLocateSettings(ProviderSettings):
    """Settings named `CLOUDLOCATE_*`, from the environment or `.env`."""

    model_config = SettingsConfigDict(env_prefix="CLOUDLOCATE_", **ENVIRONMENT)

    url: str | None = Field(
        default=None, description="complete position URL of the S2S Thing, from its details panel; unset: not used"
    )
    auth: Literal["basic", "oauth2"] = Field(default="basic", description="basic, or oauth2 with a token URL")
    username: SecretStr | None = Field(default=None, description="user name of the S2S Thing")
    password: SecretStr | None = Field(default=None, description="password of the S2S Thing")
    allow_http: bool = Field(default=False, description="allow plain http to hosts other than this machine")

    token_url: str | None = Field(default=None, description="where oauth2 tokens are issued")
    token_grant: Literal["client_credentials", "password"] = Field(
        default="client_credentials", description="grant of the first oauth2 token"
    )
    token_client_auth: Literal["basic", "form"] = Field(
        default="basic", description="where the token request carries the credentials: Basic header, or form"
    )
    token_default_ttl_s: Annotated[float, Field(gt=0)] = Field(
        default=300, description="assumed life of a token that states none, in seconds"
    )

    timeout_s: Annotated[float, Field(gt=0)] = Field(default=15, description="limit of one attempt, in seconds")
    connect_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=5, description="limit for making a connection, in seconds"
    )
    max_retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="repetitions after failures that cannot have been billed"
    )
    rate_limit_rps: Annotated[float, Field(ge=0)] = Field(
        default=0, description="calls begun per second and process, evenly spaced; 0: no limit"
    )
    max_concurrency: Annotated[int, Field(ge=1)] = Field(
        default=1000,
        description="connections per process; one call holds one, so calls per second times the seconds a call takes "
        "must fit: a burst of 800/s with half a second each needs 400, and an idle connection costs next to nothing",
    )

    checksum_policy: ChecksumPolicy = Field(
        default="warn",
        description="compact UBX message with a wrong checksum: reject (not sent), warn (sent, with a hint), repair or "
        "ignore",
    )
    measx_checksum_policy: ChecksumPolicy = Field(
        default="reject", description="the same for UBX-RXM-MEASX, whose checksum the service checks"
    )
    frame_policy: FramePolicy = Field(
        default="wrap",
        description="how compact messages are sent: wrap (in UBX frames), strip (a single one as its payload alone; "
        "several, and MEASX, stay framed) or passthrough (as they came)",
    )
    allowed_ubx_ids: Annotated[frozenset[int], NoDecode] = Field(
        default=frozenset({0x0214, 0x0284, 0x0286, 0x0282}),
        description="UBX class and id of the messages that are sent, in hex; MEASX, MEAS20, MEAS50, MEASC12: "
        "0214,0284,0286,0282",
    )
    max_payload_bytes: Annotated[int, Field(ge=1)] = Field(
        default=8192, description="largest GNSS payload, after decoding"
    )
    max_age_s: Annotated[float, Field(gt=0)] = Field(
        default=604_800, description="oldest GNSS measurement that is sent, in seconds"
    )
    max_future_s: Annotated[float, Field(ge=0)] = Field(
        default=60, description="how far observedAt may lie in the future, in seconds"
    )
    send_imei: bool = Field(default=False, description="send the IMEI with cell measurements; adds nothing to the fix")
    zero_is_no_position: bool = Field(
        default=True, description="take latitude 0, longitude 0 for the absence of a position"
    )

    @property
    def needed(self) -> Mapping[str, bool]:
        """Return for each variable that a call needs whether it is set."""
        needed = {"URL": self.url, "USERNAME": self.username, "PASSWORD": self.password}
        if self.auth == "oauth2":
            needed["TOKEN_URL"] = self.token_url
        return {f"CLOUDLOCATE_{name}": bool(value) for name, value in needed.items()}

    @property
    def credentials(self) -> tuple[str, str]:
        """The user name and the password in clear; empty where they are not set."""
        username, password = self.username, self.password
        return (username.get_secret_value() if username else "", password.get_secret_value() if password else "")

    @field_validator("allowed_ubx_ids", mode="before")
    @classmethod
    def _reads_hex(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {int(one.replace("/", ""), 16) for one in value.replace(",", " ").split()}

    @field_validator("url", "token_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a complete http(s) URL")
        if parts.username or parts.password:
            raise ValueError("must not hold credentials; set CLOUDLOCATE_USERNAME and CLOUDLOCATE_PASSWORD")
        return value

    @model_validator(mode="after")
    def _is_encrypted(self) -> Self:
        for address in filter(None, (self.url, self.token_url)):
            parts = urlsplit(address)
            if parts.scheme == "http" and not self.allow_http and not is_loopback(parts.hostname or ""):
                raise ValueError("plain http is for this machine only; use https, or set CLOUDLOCATE_ALLOW_HTTP=true")
        return self


def to_basic(username: str, password: str) -> str:
    """Write the `Authorization` of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
