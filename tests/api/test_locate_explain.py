"""`/locate/explain`: each verdict is held to what `/locate` then does, and no vendor is called for it."""

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import IMEI, MDN, WIFI, Vendors, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
LONE = {"wifiAccessPoints": WIFI["wifiAccessPoints"][:1]}
_numbers = itertools.count(9_000)


@pytest.fixture
def device() -> Json:
    """A device that no other test has asked about."""
    number = next(_numbers)
    return {"imei": str(int(IMEI) + number), "mdn": str(int(MDN) + number)}


async def explained(gateway: httpx.AsyncClient, body: Json, **options: Any) -> Json:
    response = await gateway.post("/locate/explain", json=body, **options)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def located(gateway: httpx.AsyncClient, body: Json, **options: Any) -> Json:
    answer: Json = (await gateway.post("/locate", json=body, **options)).json()
    return answer


def verdicts(explanation: Json) -> list[tuple[str, str]]:
    return [(one["provider"], one["verdict"]) for one in explanation["candidates"]]


SCAN = ("cloudlocate", "would_be_asked")
NETWORK = ("thingspace", "would_be_asked")
THEN_NETWORK = ("thingspace", "only_if_others_fail")
NO_SCAN = ("cloudlocate", "unusable")
NO_DEVICE = ("thingspace", "unusable")
BOTH = {"device": {}, "measurements": WIFI}


@pytest.mark.parametrize(
    ("body", "expected", "outcome"),
    [
        pytest.param({"measurements": WIFI}, [SCAN, NO_DEVICE], "cloudlocate", id="a scan"),
        pytest.param({"device": {}}, [NETWORK, NO_SCAN], "thingspace", id="a device"),
        pytest.param(BOTH, [SCAN, THEN_NETWORK], "cloudlocate", id="both"),
        pytest.param({"device": {}, "measurements": LONE}, [NETWORK, NO_SCAN], "thingspace", id="a useless scan"),
        pytest.param({"measurements": LONE}, [NO_SCAN, NO_DEVICE], "UNUSABLE_MEASUREMENTS", id="nothing else"),
        pytest.param({"device": {"name": "x"}}, [NO_DEVICE, NO_SCAN], "MISSING_IDENTIFIER", id="a name"),
        pytest.param(
            BOTH | {"provider": "thingspace"},
            [NETWORK, NO_SCAN],
            "thingspace",
            id="pinned",
        ),
        pytest.param(
            BOTH | {"provider": "cloudlocate"},
            [SCAN, NO_DEVICE],
            "cloudlocate",
            id="pinned so",
        ),
        pytest.param(
            {"device": {}, "provider": "cloudlocate"}, [NO_SCAN, NO_DEVICE], "INVALID_ARGUMENT", id="pinned wrongly"
        ),
        pytest.param(BOTH | {"fallback": False}, [SCAN, NO_DEVICE], "cloudlocate", id="no fallback"),
        pytest.param(BOTH | {"strategy": "best"}, [SCAN, NETWORK], None, id="the best of all"),
        pytest.param({"device": {}, "maxAge": 0}, [NETWORK, NO_SCAN], "thingspace", id="a current fix"),
    ],
)
async def test_the_verdict_is_what_happens(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, body: Json, expected: Any, outcome: str | None
) -> None:
    if body.get("device") == {}:
        body = body | {"device": device}

    response = await gateway.post("/locate/explain", json=body)
    calls = len(vendors.cloudlocate_calls) + len(vendors.thingspace_calls) + len(vendors.list_calls)
    answer = await located(gateway, body)

    assert calls == 0
    if outcome == "INVALID_ARGUMENT":
        assert (response.status_code, response.json()["code"]) == (422, outcome)
        return
    explanation = response.json()
    assert verdicts(explanation) == expected
    problem = explanation.get("problem", {"code": None})
    if outcome is None:
        assert len(answer["attempts"]) == 2
    elif "location" in answer:
        assert answer["location"]["provider"] == outcome
        assert problem["code"] is None
    else:
        assert answer["code"] == outcome


async def test_a_fresh_stored_fix_answers(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    await located(gateway, {"device": device})

    explanation = await explained(gateway, {"device": device})
    answer = await located(gateway, {"device": device})

    assert verdicts(explanation)[0] == ("thingspace", "answered_from_store")
    assert explanation["ladder"] == [{"provider": "thingspace", "step": "store", "billed": False}]
    assert explanation["stored"]["location"]["latitude"] == answer["location"]["latitude"]
    assert answer["attempts"] == []


async def test_a_stored_fix_that_is_too_wide_does_not_answer(gateway: httpx.AsyncClient, device: Json) -> None:
    await located(gateway, {"device": device})

    explanation = await explained(gateway, {"device": device, "maxAccuracy": 10})

    assert verdicts(explanation)[0] == NETWORK
    assert explanation["stored"] is not None


@pytest.mark.parametrize(
    ("max_age", "steps"),
    [
        (None, [("cache_or_current", None)]),
        (0, [("current", True)]),
        (60, [("cache", False), ("current", True)]),
    ],
)
async def test_the_ladder_is_what_would_be_asked(
    gateway: httpx.AsyncClient, device: Json, max_age: int | None, steps: Any
) -> None:
    explanation = await explained(gateway, {"device": device, "maxAge": max_age})

    assert [(step["step"], step["billed"]) for step in explanation["ladder"]] == steps


async def test_a_missing_number_would_be_looked_up(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    explanation = await explained(gateway, {"device": {"imei": device["imei"]}})

    assert verdicts(explanation)[0] == NETWORK
    assert "device list" in explanation["candidates"][0]["reason"]
    assert vendors.list_calls == []


@pytest_asyncio.fixture
async def asked_with(
    database_url: str, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """Ask a gateway with other settings."""

    async def ask(body: Json, *bodies: Json, **variables: str | None) -> tuple[Json, Json]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name)
        async with asking(create_app(settings(database_url, cooldown_after=1), vendors.transport())) as gateway:
            for before in bodies:
                await located(gateway, before)
            return await explained(gateway, body), await located(gateway, body)

    yield ask


async def test_without_the_directory_a_missing_number_cannot_be_had(
    asked_with: Callable[..., Any], device: Json
) -> None:
    explanation, answer = await asked_with({"device": {"imei": device["imei"]}}, THINGSPACE_DIRECTORY="false")

    assert verdicts(explanation)[0] == ("thingspace", "unusable")
    assert answer["code"] == "MISSING_IDENTIFIER"


async def test_who_is_not_configured_is_said(asked_with: Callable[..., Any], device: Json) -> None:
    explanation, answer = await asked_with({"device": device, "measurements": WIFI}, CLOUDLOCATE_URL=None)

    assert verdicts(explanation) == [("cloudlocate", "not_configured"), NETWORK]
    assert answer["location"]["provider"] == "thingspace"


async def test_who_is_cooling_down_is_said(asked_with: Callable[..., Any], vendors: Vendors, device: Json) -> None:
    vendors.thingspace = refused("INTERNAL", "away", 503)

    explanation, answer = await asked_with({"device": device, "maxAge": 0}, {"device": device, "maxAge": 0})

    assert verdicts(explanation)[0] == ("thingspace", "cooling_down")
    assert answer["code"] == "PROVIDER_UNAVAILABLE"
    assert len(vendors.thingspace_calls) == 1


async def limited(gateway: httpx.AsyncClient, **limits: Any) -> dict[str, str]:
    plan = {"name": "limited", "scopes": ["locate"]} | limits
    key = (await gateway.post("/keys", json=plan)).json()["key"]
    return {"Authorization": f"Bearer {key}"}


async def test_a_budget_that_is_used_up_is_said(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    headers = await limited(gateway, dailyFixes=1)
    body = {"device": device, "maxAge": 0}
    first = await explained(gateway, body, headers=headers)
    await located(gateway, body, headers=headers)

    explanation = await explained(gateway, body, headers=headers)
    answer = await located(gateway, body, headers=headers)

    assert (first["budget"]["left"], verdicts(first)[0]) == (1, NETWORK)
    assert (explanation["budget"]["left"], verdicts(explanation)[0]) == (0, ("thingspace", "over_budget"))
    assert answer["code"] == "QUOTA_EXCEEDED"


async def test_what_costs_nothing_is_within_every_budget(gateway: httpx.AsyncClient, device: Json) -> None:
    headers = await limited(gateway, dailyFixes=0)

    explanation = await explained(gateway, {"device": device, "maxAge": 60}, headers=headers)

    assert verdicts(explanation)[0] == NETWORK


async def test_what_a_key_may_not_ask_is_said(gateway: httpx.AsyncClient, device: Json) -> None:
    headers = await limited(gateway, devices=["123456789012345"])

    explanation = await explained(gateway, {"device": device}, headers=headers)
    answer = await located(gateway, {"device": device}, headers=headers)

    assert {verdict for _, verdict in verdicts(explanation)} == {"not_permitted"}
    assert (explanation["stored"], explanation["problem"]["code"]) == (None, "PERMISSION_DENIED")
    assert answer["code"] == "PERMISSION_DENIED"


async def test_an_explanation_is_audited(gateway: httpx.AsyncClient, device: Json) -> None:
    await explained(gateway, {"device": device})

    rows = (await gateway.get("/audit", params={"device": device["imei"]})).json()["entries"]

    assert [(row["action"], row["outcome"]) for row in rows] == [("locate.explain", "done")]
