"""Health, readiness, metrics, the state of the providers, and the documents about it all."""

import re
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import DEVICE, WIFI, Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_ready_means_that_the_database_is_migrated(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ready"})


async def test_an_unmigrated_database_is_not_ready_and_says_what_to_do(
    empty_database_url: str, vendors: Vendors
) -> None:
    async with asking(create_app(settings(empty_database_url), vendors.transport())) as gateway:
        ready = await gateway.get("/readyz")
        alive = await gateway.get("/healthz")

    assert (ready.status_code, ready.json()["code"]) == (503, "UNAVAILABLE")
    assert "location-gateway migrate" in ready.json()["detail"]
    assert alive.status_code == 200


async def test_without_a_database_the_gateway_starts_and_is_not_ready(free_port: int, vendors: Vendors) -> None:
    nowhere = f"postgresql://nobody:nothing@127.0.0.1:{free_port}/nowhere"
    async with asking(create_app(settings(nowhere), vendors.transport())) as gateway:
        ready = await gateway.get("/readyz")
        located = await gateway.post("/locate", json={"measurements": WIFI})
        batch = await gateway.post(
            "/locate/batch",
            json={"requests": [{"id": "a", "measurements": WIFI}, {"id": "b", "device": {"imei": DEVICE["imei"]}}]},
        )

    assert (ready.status_code, ready.json()["code"]) == (503, "UNAVAILABLE")
    assert located.status_code == 200
    a, b = batch.json()["results"]
    assert "location" in a
    assert b["problem"]["code"] == "UNAVAILABLE"


async def test_health_never_calls_a_vendor(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/providers"):
        assert (await gateway.get(path)).status_code == 200

    assert not vendors.cloudlocate_calls
    assert not vendors.thingspace_calls


async def test_metrics_count_requests_and_attempts(gateway: httpx.AsyncClient) -> None:
    await gateway.post("/locate", json={"measurements": WIFI})

    response = await gateway.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain")
    assert 'gateway_requests_total{method="POST",route="/locate",status="200"}' in response.text
    assert 'gateway_provider_attempts_total{outcome="located",provider="cloudlocate"}' in response.text
    assert "gateway_commit_queue_bound 20000.0" in response.text


async def test_head_is_counted_under_its_route(gateway: httpx.AsyncClient) -> None:
    await gateway.head("/providers")

    text = (await gateway.get("/metrics")).text

    assert re.search(r'gateway_requests_total{method="HEAD",route="/providers",status="200"} ', text)


async def test_labels_of_metrics_are_bounded(gateway: httpx.AsyncClient) -> None:
    await gateway.get("/devices/990001123456782/location")
    await gateway.get("/some/path/that/nobody/knows")

    metrics = (await gateway.get("/metrics")).text

    assert "990001123456782" not in metrics
    assert "nobody" not in metrics
    assert 'route="unmatched"' in metrics


async def test_providers_tell_how_they_are(gateway: httpx.AsyncClient) -> None:
    await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})

    cloudlocate, thingspace = (await gateway.get("/providers")).json()["providers"]

    assert cloudlocate["configured"] is thingspace["configured"] is True
    assert thingspace["state"] == "ready"
    assert thingspace["tokenAgeSeconds"] >= 0
    assert set(thingspace["abilities"]) == {"locator", "tracker", "callbacks", "listeners"}


async def test_a_provider_can_be_reset(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = httpx.Response(401)
    await gateway.post("/locate", json={"measurements": WIFI})

    reset = await gateway.post("/providers/cloudlocate/reset")
    unknown = await gateway.post("/providers/nobody/reset")

    assert (reset.json()["state"], reset.json()["lastError"]) == ("ready", None)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_documentation_pages_load_nothing_from_elsewhere(gateway: httpx.AsyncClient, path: str) -> None:
    page = await gateway.get(path)
    assets = [part.split('"')[0] for part in page.text.replace("'", '"').split('"') if part.startswith("/docs-assets")]

    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    assert assets
    for asset in assets:
        assert (await gateway.get(asset, headers={"Authorization": ""})).status_code == 200


async def test_the_document_gives_an_example_for_every_problem_of_the_contract(gateway: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await gateway.get("/openapi.json")).json()

    examples = {
        code: example["value"]
        for item in document["paths"].values()
        for operation in item.values()
        for response in operation["responses"].values()
        for code, example in response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
    }

    expected = {
        *("MALFORMED_JSON", "UNAUTHENTICATED", "PERMISSION_DENIED", "CONSENT_REQUIRED", "DEVICE_NOT_OWNED"),
        *("NOT_FOUND", "IDENTIFIER_NOT_FOUND", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "INCOMPATIBLE_STATE"),
        *("IDEMPOTENCY_IN_PROGRESS", "INVALID_ARGUMENT", "MISSING_IDENTIFIER", "UNSUPPORTED_IDENTIFIER"),
        *("UNUSABLE_MEASUREMENTS", "UNABLE_TO_LOCATE", "UNABLE_TO_FULFILL_MAX_AGE", "DEVICE_UNREACHABLE"),
        *("SERVICE_NOT_APPLICABLE", "IDEMPOTENCY_KEY_REUSED", "TOO_MANY_REQUESTS", "QUOTA_EXCEEDED", "INTERNAL"),
        *("PROVIDER_BAD_RESPONSE", "PROVIDER_REFUSED", "PROVIDER_AUTH_FAILED", "PROVIDER_UNAVAILABLE"),
        *("PROVIDER_NOT_CONFIGURED", "UNAVAILABLE", "PROVIDER_TIMEOUT", "OUTCOME_UNKNOWN"),
    }
    assert expected <= examples.keys()
    assert all(example["code"] == code for code, example in examples.items())


async def test_every_operation_has_a_summary_a_description_and_an_id(gateway: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await gateway.get("/openapi.json")).json()

    operations = [operation for item in document["paths"].values() for operation in item.values()]

    assert all(one.get("summary") and one.get("description") and one.get("operationId") for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)


async def test_the_examples_of_the_document_work(gateway: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await gateway.get("/openapi.json")).json()
    examples = document["paths"]["/locate"]["post"]["requestBody"]["content"]["application/json"]["examples"]

    statuses = {name: (await gateway.post("/locate", json=one["value"])).status_code for name, one in examples.items()}

    assert statuses == dict.fromkeys(("wifi", "gnss", "cell", "device"), 200)


async def test_a_feature_is_answered_to_those_who_ask_for_one(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post(
        "/locate", json={"measurements": WIFI, "device": {"name": "pump"}}, headers={"Accept": "application/geo+json"}
    )

    feature = response.json()
    assert response.headers["content-type"] == "application/geo+json"
    assert (feature["type"], feature["geometry"]) == (
        "Feature",
        {"type": "Point", "coordinates": [-74.006377, 40.712961]},
    )
    properties = feature["properties"]
    assert (properties["name"], properties["provider"], properties["accuracy"]) == ("pump", "cloudlocate", 27.0)
    assert not [one for one in properties.values() if isinstance(one, dict)]


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/json, application/geo+json;q=0.5", "application/geo+json;q=0, */*"],
)
async def test_everybody_else_gets_json(gateway: httpx.AsyncClient, accept: str) -> None:
    response = await gateway.post("/locate", json={"measurements": WIFI}, headers={"Accept": accept})

    assert response.headers["content-type"] == "application/json"
