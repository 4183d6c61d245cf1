"""OpenTelemetry's own environment variables: those that the gateway looks at, and those that are used most."""

import os
from typing import Annotated

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.settings import ENVIRONMENT

_PREFIX = "OTEL_"


def _is_true(value: object) -> bool:
    return str(value).strip().lower() == "true"


class TracingSettings(BaseSettings):
    """Settings named `OTEL_*`, from the environment or `.env`; the SDK reads them itself, and more of them.

    All are texts: they are often set for many programs at once, and none of them may keep the gateway from starting.
    The endpoints count as secrets because they may hold a user name and a password.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, **ENVIRONMENT)

    exporter_otlp_endpoint: SecretStr | None = Field(
        default=None, description="collector that traces are sent to by OTLP/HTTP; unset: no traces"
    )
    exporter_otlp_traces_endpoint: SecretStr | None = Field(
        default=None, description="the same as a complete address, which is used as it is"
    )
    exporter_otlp_headers: SecretStr | None = Field(
        default=None, description="headers for the collector: name=value, separated by commas"
    )
    service_name: str = Field(default="location-gateway", description="name of the service in traces")
    resource_attributes: str | None = Field(
        default=None, description="further attributes of it: name=value, separated by commas"
    )
    traces_sampler: str = Field(
        default="parentbased_always_on", description="which traces are recorded: OpenTelemetry's name of a sampler"
    )
    traces_sampler_arg: str | None = Field(
        default=None, description="the sampler's argument, such as the share of traces, 0 to 1"
    )
    traces_exporter: str = Field(default="otlp", description="none: no traces, whatever the endpoint")
    sdk_disabled: Annotated[bool, BeforeValidator(_is_true)] = Field(
        default=False, description="true: no traces, whatever the endpoint"
    )

    @property
    def is_on(self) -> bool:
        """Whether there is somewhere to send traces to, and nothing that forbids it."""
        endpoint = self.exporter_otlp_traces_endpoint or self.exporter_otlp_endpoint
        return bool(endpoint) and not self.sdk_disabled and self.traces_exporter.strip().lower() != "none"


def tell_the_sdk() -> None:
    """Put the variables of `.env` into the environment, which is all that the SDK looks at."""
    for name, value in dotenv_values(ENVIRONMENT.get("env_file")).items():  # type: ignore[arg-type]  # one path
        if name.startswith(_PREFIX) and value:
            os.environ.setdefault(name, value)
