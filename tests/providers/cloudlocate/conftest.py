from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import stamina
from cloudlocate_stage import NOW, Vendor, make_settings

from app.model import LocationQuery
from app.provider import Assessment
from app.providers.cloudlocate.client import CloudLocate
from app.upstream import http_client


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def locator(vendor: Vendor) -> Callable[..., CloudLocate]:
    def make(handler: Callable[[httpx.Request], Any] = vendor, **changes: Any) -> CloudLocate:
        settings = make_settings(**changes)
        http = http_client(httpx.MockTransport(handler), connect_timeout_s=1, max_connections=10)
        return CloudLocate(http, settings, now=lambda: NOW)

    return make


@pytest.fixture
def assess(locator: Callable[..., CloudLocate]) -> Callable[..., Assessment]:
    def judge(query: LocationQuery, **changes: Any) -> Assessment:
        return locator(**changes).assess(query)

    return judge


@pytest.fixture(autouse=True)
def _no_waiting_between_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield
