"""One question is paid for once: a gateway in front of a vendor that bills whatever it takes."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.billing_vendor import BillingVendor, Conduct, answering, billing_vendor, declining, resetting
from tests.support.gateways import asking, settings
from tests.support.vendors import DEVICE, WIFI

Json = dict[str, Any]

ANEW = {"device": DEVICE, "maxAge": 0}
MEASURED = {"measurements": WIFI}
BOTH_VENDORS = pytest.mark.parametrize("question", [ANEW, MEASURED], ids=["thingspace", "cloudlocate"])


@pytest.fixture
async def vendor(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BillingVendor]:
    async with billing_vendor() as (vendor, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield vendor


@pytest.fixture
async def gateway(vendor: BillingVendor, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(create_app(settings(database_url))) as client:
        yield client


@BOTH_VENDORS
@pytest.mark.parametrize(
    "conduct",
    [
        pytest.param(answering(500), id="500"),
        pytest.param(answering(502), id="502"),
        pytest.param(answering(503), id="bare 503"),
        pytest.param(answering(504), id="504"),
        pytest.param(resetting, id="reset"),
    ],
)
async def test_a_call_that_was_taken_is_paid_for_once(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json, conduct: Conduct
) -> None:
    vendor.will(conduct)

    answer = await gateway.post("/locate", json=question)

    assert answer.status_code == 503
    assert (vendor.calls, vendor.billed) == (1, 1)


@BOTH_VENDORS
@pytest.mark.parametrize("refusal", [declining(429), declining(429, None), declining(503)], ids=repr)
async def test_a_call_that_was_declined_is_made_again(
    gateway: httpx.AsyncClient, vendor: BillingVendor, question: Json, refusal: declining
) -> None:
    vendor.will(refusal)

    answer = await gateway.post("/locate", json=question)

    assert answer.status_code == 200
    assert (vendor.calls, vendor.billed) == (2, 1)
