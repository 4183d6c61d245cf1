"""ThingSpace's credentials, and providers that are closed after the test."""

from collections.abc import AsyncIterator, Callable

import pytest
from thingspace_stand_in import ACCOUNT, StandIn

from app.provider import Provider, Vault
from app.providers import thingspace

Built = Callable[..., Provider]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"KEY": "key", "SECRET": "secret", "USERNAME": "user", "PASSWORD": "pass", "ACCOUNT": ACCOUNT}
    for name, value in values.items():
        monkeypatch.setenv(f"THINGSPACE_{name}", value)


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
async def build(stand_in: StandIn) -> AsyncIterator[Built]:
    """Build providers in front of the stand-in, as often as asked."""
    providers: list[Provider] = []

    def build_one(vault: Vault | None = None) -> Provider:
        providers.append(thingspace.build(stand_in.transport(), vault=vault))
        return providers[-1]

    yield build_one
    for provider in providers:
        await provider.aclose()


@pytest.fixture
def provider(build: Built) -> Provider:
    return build()
