"""A provider that is no part of the product, as somebody would add one: a module with `Settings` and `build`."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import GatewayError
from app.model import Deadline, Fix, Located, LocationQuery, ProviderName
from app.provider import Assessment, LocatesBy, Provider, ProviderModule, Vault

NAME = ProviderName("beacon")
CALLS: list[LocationQuery] = []


class Settings(BaseSettings):
    """The settings of the beacons."""

    model_config = SettingsConfigDict(env_prefix="BEACON_")

    floor: int = 0


class Beacons:
    """Knows every device to be at the same place."""

    locates_by: LocatesBy = "measurements"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def assess(self, query: LocationQuery) -> Assessment:
        return Assessment(usable=True)

    async def locate(self, query: LocationQuery, *, request_id: str, deadline: Deadline) -> Located:
        CALLS.append(query)
        fix = Fix(
            latitude_deg=float(self._settings.floor),
            longitude_deg=0.0,
            accuracy_m=5.0,
            confidence_pct=95,
            fixed_at=datetime.now(UTC),
            source="unknown",
            provider=NAME,
        )
        return Located(fix=fix)

    async def locate_many(
        self, queries: Sequence[LocationQuery], *, request_id: str, deadline: Deadline
    ) -> list[Located | GatewayError]:
        return [await self.locate(query, request_id=request_id, deadline=deadline) for query in queries]


def build(transport: object | None = None, *, vault: Vault | None = None) -> Provider:
    return Provider(name=NAME, configured=True, locator=Beacons(Settings()))


third = cast("ProviderModule", sys.modules[__name__])
