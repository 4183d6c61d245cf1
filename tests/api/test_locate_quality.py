"""`confidence`, `maxAccuracy`, `assured` and `onFailure`: how good an answer has to be, and what takes its place."""

import asyncio
import itertools
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import IMEI, MDN, WIFI, Vendors, refused, seen, solved, unseen

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
_numbers = itertools.count(7_000)


@pytest.fixture
def device() -> Json:
    """A device that no other test has asked about."""
    number = next(_numbers)
    return {"imei": str(int(IMEI) + number), "mdn": str(int(MDN) + number)}


async def locate(gateway: httpx.AsyncClient, **body: Any) -> Json:
    answer: Json = (await gateway.post("/locate", json=body)).json()
    return answer


async def test_accuracy_is_given_at_the_level_that_was_asked_for(gateway: httpx.AsyncClient) -> None:
    location = (await locate(gateway, measurements=WIFI, confidence=95))["location"]

    assert location["accuracy"] == pytest.approx(43.7794, rel=1e-5)
    assert (location["confidence"], location["accuracyBasis"]) == (95, "scaled")
    assert location["reported"] == {"accuracy": 27.0, "confidence": 68}


async def test_a_level_that_nobody_knows_is_not_invented(gateway: httpx.AsyncClient, device: Json) -> None:
    location = (await locate(gateway, device=device, confidence=95))["location"]

    assert (location["accuracy"], location["confidence"], location["accuracyBasis"]) == (1450.0, None, "unknown")


@pytest.mark.parametrize(("wanted", "radius_m"), [(None, 1450.0), (99, 2050.609665)])
async def test_an_operator_may_assume_a_level(
    database_url: str,
    vendors: Vendors,
    monkeypatch: pytest.MonkeyPatch,
    device: Json,
    wanted: int | None,
    radius_m: float,
) -> None:
    monkeypatch.setenv("THINGSPACE_RADIUS_CONFIDENCE", "90")

    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        location = (await locate(gateway, device=device, confidence=wanted))["location"]

    assert location["accuracy"] == pytest.approx(radius_m)
    assert (location["confidence"], location["accuracyBasis"]) == (wanted or 90, "assumed")


async def test_a_circle_that_is_too_wide_lets_the_next_provider_try(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.cloudlocate = lambda _: solved(Location={"Lat": 40.7, "Lon": -74.0, "Unc68": 5000})

    answer = await locate(gateway, device=device, measurements=WIFI, maxAccuracy=2000)

    assert (answer["location"]["provider"], answer["accuracyMet"]) == ("thingspace", True)
    assert [(one["provider"], one["outcome"]) for one in answer["attempts"]] == [
        ("cloudlocate", "located"),
        ("thingspace", "located"),
    ]
    assert answer["attempts"][0]["reason"] == "wider than maxAccuracy"


@pytest.mark.parametrize(("radius_m", "best"), [(900, "cloudlocate"), (5000, "thingspace")])
async def test_the_best_is_answered_where_all_are_too_wide(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, radius_m: float, best: str
) -> None:
    vendors.cloudlocate = lambda _: solved(Location={"Lat": 40.7, "Lon": -74.0, "Unc68": radius_m})

    answer = await locate(gateway, device=device, measurements=WIFI, maxAccuracy=20)

    assert (answer["location"]["provider"], answer["accuracyMet"]) == (best, False)


async def test_assured_refuses_what_is_too_wide(gateway: httpx.AsyncClient) -> None:
    problem = await locate(gateway, measurements=WIFI, maxAccuracy=20, assured=True)

    assert (problem["status"], problem["code"]) == (422, "UNABLE_TO_FULFILL_ACCURACY")
    assert [one["outcome"] for one in problem["attempts"]] == ["located"]


async def test_a_stored_fix_that_is_too_wide_does_not_answer(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device=device)

    answer = await locate(gateway, device=device, maxAge=300, maxAccuracy=100)

    assert answer["accuracyMet"] is False
    assert vendors.cache_modes == ["1", "0"]


async def test_a_refusal_ends_the_search_for_something_better(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = unseen("POSITIONING NOT ALLOWED")

    problem = await locate(gateway, device=device, measurements=WIFI, maxAccuracy=20, onFailure="last_known")

    assert problem["status"] == 403
    assert "location" not in problem


async def test_the_last_known_position_takes_the_place_of_a_failure(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    before = await locate(gateway, device=device)
    vendors.thingspace = unseen("POSITION METHOD FAILURE")

    answer = await locate(gateway, device=device, maxAge=0, onFailure="last_known")

    location = answer["location"]
    assert location["latitude"] == before["location"]["latitude"]
    assert (location["stale"], location["cached"]) == (True, True)
    assert 0 <= location["age"] < 60
    assert answer["problem"]["code"] == "UNABLE_TO_LOCATE"
    assert [one["outcome"] for one in answer["attempts"]] == ["no_position"]


async def test_measurements_that_cannot_be_used_are_a_failure_as_well(gateway: httpx.AsyncClient, device: Json) -> None:
    named = {"name": f"pump-{device['imei']}"}
    await locate(gateway, device=named, measurements=WIFI)
    lone = {"wifiAccessPoints": WIFI["wifiAccessPoints"][:1]}

    answer = await locate(gateway, device=named, measurements=lone, onFailure="last_known")

    assert (answer["location"]["stale"], answer["problem"]["code"]) == (True, "UNUSABLE_MEASUREMENTS")


async def test_a_failure_stays_one_where_nothing_is_known(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = unseen("POSITION METHOD FAILURE")

    problem = await locate(gateway, device=device, onFailure="last_known")

    assert (problem["status"], problem["code"]) == (422, "UNABLE_TO_LOCATE")


async def test_a_last_known_position_is_audited_as_shown(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device=device)
    vendors.thingspace = unseen("POSITION METHOD FAILURE")
    await locate(gateway, device=device, maxAge=0, onFailure="last_known")

    rows = (await gateway.get("/audit", params={"device": device["imei"], "action": "locate"})).json()["entries"]

    assert [row["outcome"] for row in rows] == ["located", "located"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 49},
        {"confidence": 100},
        {"confidence": 68.5},
        {"maxAccuracy": 0},
        {"assured": True},
        {"onFailure": "guess"},
    ],
)
async def test_what_makes_no_sense_is_refused(gateway: httpx.AsyncClient, wrong: Json) -> None:
    problem = await locate(gateway, measurements=WIFI, **wrong)

    assert (problem["status"], problem["code"]) == (422, "INVALID_ARGUMENT")


async def test_items_of_a_batch_take_the_same_members(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device=device)
    vendors.thingspace = unseen("POSITION METHOD FAILURE")
    items = [
        {"id": "a", "measurements": WIFI, "confidence": 95, "maxAccuracy": 10},
        {"id": "b", "device": device, "maxAge": 0, "onFailure": "last_known"},
    ]

    results = (await gateway.post("/locate/batch", json={"requests": items})).json()["results"]

    assert (results[0]["location"]["confidence"], results[0]["accuracyMet"]) == (95, False)
    assert (results[1]["location"]["stale"], results[1]["problem"]["code"]) == (True, "UNABLE_TO_LOCATE")


async def test_best_asks_all_at_the_same_time_and_answers_with_the_smallest_circle(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    both = asyncio.Barrier(2)

    async def measured(_: httpx.Request) -> httpx.Response:
        await both.wait()
        return solved(Location={"Lat": 40.7, "Lon": -74.0, "Unc68": 5000})

    async def identified(request: httpx.Request) -> httpx.Response:
        await both.wait()
        return seen(request)

    vendors.cloudlocate, vendors.thingspace = measured, identified

    answer = await locate(gateway, device=device, measurements=WIFI, strategy="best", maxAge=0)

    assert answer["location"]["provider"] == "thingspace"
    assert [(one["provider"], one["outcome"]) for one in answer["attempts"]] == [
        ("cloudlocate", "located"),
        ("thingspace", "located"),
    ]
    reports = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    assert {report["location"]["provider"] for report in reports} == {"cloudlocate", "thingspace"}


async def test_best_is_content_with_the_one_that_answers(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = refused("INTERNAL", "away", 503)

    answer = await locate(gateway, device=device, measurements=WIFI, strategy="best")

    assert answer["location"]["provider"] == "cloudlocate"
    assert [one["outcome"] for one in answer["attempts"]] == ["located", "unavailable"]


async def test_a_refusal_stands_whatever_the_others_found(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = unseen("POSITIONING NOT ALLOWED")

    problem = await locate(gateway, device=device, measurements=WIFI, strategy="best", onFailure="last_known")

    assert "location" not in problem
    assert problem["code"] == "CONSENT_REQUIRED"


async def test_items_that_want_the_best_stand_beside_others(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    items = [
        {"id": "a", "device": device, "measurements": WIFI, "strategy": "best", "confidence": 95},
        {"id": "b", "measurements": WIFI},
        {"id": "c", "device": device, "maxAge": 0},
    ]

    results = (await gateway.post("/locate/batch", json={"requests": items})).json()["results"]

    assert [len(one["attempts"]) for one in results] == [2, 1, 1]
    assert results[0]["location"]["provider"] == "cloudlocate"
