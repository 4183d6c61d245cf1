"""`/locate` with providers that are not configured, with one more, and in front of vendors of three strengths."""

from typing import Any

import httpx
import pytest

from app.main import create_app
from app.simulator import create_simulator
from tests.support.gateways import asking, settings, simulator_variables
from tests.support.servers import serving
from tests.support.vendors import DEVICE, IMEI, VARIABLES, WIFI, Vendors

Json = dict[str, Any]


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that lead to a simulator, wherever the transport leads."""
    for name, value in simulator_variables().items():
        monkeypatch.setenv(name, value)


async def scan(simulator: Any, kind: str) -> Json:
    """Let a simulated device look around."""
    transport = httpx.ASGITransport(simulator)
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
        found: Json = (await client.get(f"/control/devices/{IMEI}/scan", params={"kinds": kind})).json()
    return found


def is_near(location: Json, truth: Json, degrees: float) -> bool:
    return (
        abs(location["latitude"] - truth["latitude"]) < degrees
        and abs(location["longitude"] - truth["longitude"]) < degrees
    )


@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(("kind", "degrees"), [("gnss", 0.001), ("wifi", 0.005), ("cell", 0.1)])
async def test_a_conversation_in_memory_finds_the_device_where_it_is(
    database_url: str, kind: str, degrees: float
) -> None:
    simulator = create_simulator()
    scanned = await scan(simulator, kind)

    async with asking(create_app(settings(database_url), httpx.ASGITransport(simulator))) as gateway:
        response = await gateway.post("/locate", json={"measurements": scanned["measurements"]})

    location = response.json()["location"]
    assert location["source"] == kind
    assert is_near(location, scanned["truth"], degrees)


async def test_real_sockets_lead_to_both_vendors(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(create_simulator()) as simulator:
        for name, value in simulator_variables(simulator).items():
            monkeypatch.setenv(name, value)
        async with asking(create_app(settings(database_url))) as gateway:
            measured = (await gateway.post("/locate", json={"measurements": WIFI})).json()
            identified = (await gateway.post("/locate", json={"device": DEVICE})).json()

    assert measured["location"]["provider"] == "cloudlocate"
    assert identified["location"]["provider"] == "thingspace"


async def test_nobody_configured_is_told_as_such(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    async with asking(create_app(settings(database_url))) as gateway:
        response = await gateway.post("/locate", json={"device": DEVICE, "measurements": WIFI})
        states = (await gateway.get("/providers")).json()["providers"]

    problem = response.json()
    assert (response.status_code, problem["code"], problem["retryable"]) == (503, "PROVIDER_NOT_CONFIGURED", False)
    assert [attempt["outcome"] for attempt in problem["attempts"]] == ["not_configured", "not_configured"]
    assert {state["state"] for state in states} == {"not_configured"}


async def test_one_that_is_not_configured_is_passed_over(
    database_url: str, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDLOCATE_URL")

    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        answer = (await gateway.post("/locate", json={"device": DEVICE, "measurements": WIFI})).json()

    assert [(one["provider"], one["outcome"]) for one in answer["attempts"]] == [
        ("cloudlocate", "not_configured"),
        ("thingspace", "located"),
    ]


async def test_no_measurements_for_a_provider_that_needs_them(database_url: str, vendors: Vendors) -> None:
    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        response = await gateway.post("/locate", json={"device": DEVICE, "provider": "cloudlocate"})

    assert response.json()["code"] == "INVALID_ARGUMENT"
    assert response.json()["errors"][0]["pointer"] == "/measurements"
