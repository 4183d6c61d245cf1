"""`maxAge`: when a stored fix answers, when ThingSpace's cache does, and when a current fix is paid for."""

import itertools
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import IMEI, MDN, WIFI, Answer, Vendors, asked, refused, seen, solved

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
NOT_CACHED = refused("CACHE_UNAVAILABLE", "Location cache has no data for this device")
_numbers = itertools.count(1)


@pytest.fixture
def device() -> Json:
    """A device that no other test has asked about."""
    number = next(_numbers)
    return {"imei": str(int(IMEI) + number), "mdn": str(int(MDN) + number)}


def by_mode(**answers: Answer) -> Answer:
    """Answer `cached`, `any` and `current` questions each in its own way."""
    modes = {"0": answers.get("cached"), "1": answers.get("any"), "2": answers.get("current")}

    def answer(request: httpx.Request) -> Any:
        found = modes[asked(request)["cacheMode"]]
        assert found is not None, "was not to be asked"
        return found(request) if callable(found) else found

    return answer


def aged(age_s: float) -> Answer:
    return lambda request: seen(request, age_s=age_s)


async def locate(gateway: httpx.AsyncClient, device: Json, **rest: Any) -> Json:
    answer: Json = (await gateway.post("/locate", json={"device": device} | rest)).json()
    return answer


async def test_without_max_age_anything_the_network_has_is_taken(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = by_mode(any=aged(86_400))

    answer = await locate(gateway, device)

    assert answer["location"]["provider"] == "thingspace"
    assert vendors.cache_modes == ["1"]


async def test_without_max_age_a_recent_stored_fix_answers(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    first = await locate(gateway, device)

    second = await locate(gateway, device)

    assert second["location"] == first["location"] | {"cached": True}
    assert second["attempts"] == []
    assert any("stored fix" in hint for hint in second["hints"])
    assert len(vendors.thingspace_calls) == 1


async def test_without_max_age_an_old_stored_fix_does_not_answer(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = aged(400)
    await locate(gateway, device)

    await locate(gateway, device)

    assert vendors.cache_modes == ["1", "1"]


async def test_max_age_0_always_pays_for_a_current_fix(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device)

    answer = await locate(gateway, device, maxAge=0)

    assert answer["location"]["cached"] is False
    assert vendors.cache_modes == ["1", "2"]


async def test_max_age_0_takes_the_networks_word_and_hints_at_an_old_time(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = by_mode(current=aged(3600))

    answer = await locate(gateway, device, maxAge=0)

    assert answer["location"]["provider"] == "thingspace"
    assert any("five minutes" in hint for hint in answer["hints"])


async def test_max_age_n_is_served_from_the_own_store_first(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = aged(400)
    await locate(gateway, device)

    answer = await locate(gateway, device, maxAge=1000)

    assert answer["location"]["cached"] is True
    assert len(vendors.thingspace_calls) == 1


async def test_max_age_n_looks_into_the_free_cache_before_paying(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    vendors.thingspace = by_mode(cached=aged(60))

    answer = await locate(gateway, device, maxAge=120)

    assert answer["location"]["provider"] == "thingspace"
    assert vendors.cache_modes == ["0"]


@pytest.mark.parametrize("cached", [aged(600), NOT_CACHED], ids=["too old", "empty"])
async def test_max_age_n_pays_when_the_cache_does_not_help(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, cached: Answer
) -> None:
    vendors.thingspace = by_mode(cached=cached, current=seen)

    answer = await locate(gateway, device, maxAge=120)

    assert answer["location"]["cached"] is False
    assert vendors.cache_modes == ["0", "2"]


async def test_what_is_still_too_old_is_no_answer(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    vendors.thingspace = aged(600)

    problem = await locate(gateway, device, maxAge=120)

    assert (problem["status"], problem["code"]) == (422, "UNABLE_TO_FULFILL_MAX_AGE")
    assert vendors.cache_modes == ["0", "2"]


async def test_a_fix_by_measurements_answers_a_later_question_by_device(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device, measurements=WIFI)

    answer = await locate(gateway, device)

    assert (answer["location"]["provider"], answer["location"]["cached"]) == ("cloudlocate", True)
    assert not vendors.thingspace_calls


async def test_a_fix_by_measurements_answers_a_later_question_by_name(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    named = {"name": f"pump-{device['imei']}"}
    first = await locate(gateway, named, measurements=WIFI)

    answer = await locate(gateway, named, maxAge=60)

    assert answer["device"] == named
    assert answer["location"] == first["location"] | {"cached": True}
    assert not vendors.thingspace_calls
    latest = (await gateway.get(f"/devices/{named['name']}/location")).json()
    [report] = (await gateway.get("/reports", params={"name": named["name"]})).json()["reports"]
    assert (latest, report["device"]) == (report, named)


@pytest.mark.parametrize("rest", [{"maxAge": 60}, {"maxAge": 0}, {}, {"provider": "thingspace"}])
@pytest.mark.parametrize("configured", [True, False])
async def test_a_name_without_a_fresh_fix_is_no_identifier(
    database_url: str,
    vendors: Vendors,
    device: Json,
    rest: Json,
    monkeypatch: pytest.MonkeyPatch,
    *,
    configured: bool,
) -> None:
    if not configured:
        monkeypatch.delenv("THINGSPACE_KEY")
    vendors.cloudlocate = solved(DateTime="2026-03-02T08:14:55")
    named = {"name": f"pump-{device['imei']}"}
    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        await locate(gateway, named, measurements=WIFI)

        problem = await locate(gateway, named, **rest)

    assert (problem["status"], problem["code"]) == (422, "MISSING_IDENTIFIER")
    assert problem["errors"][0]["pointer"] == "/device"
    assert not vendors.thingspace_calls


async def test_measurements_are_always_solved(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    await locate(gateway, device, measurements=WIFI)

    answer = await locate(gateway, device, measurements=WIFI, maxAge=3600)

    assert answer["location"]["cached"] is False
    assert len(vendors.cloudlocate_calls) == 2


async def test_a_named_provider_is_not_answered_for_by_another_ones_fix(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device, measurements=WIFI)

    answer = await locate(gateway, device, provider="thingspace")

    assert (answer["location"]["provider"], answer["location"]["cached"]) == ("thingspace", False)


async def test_another_accounts_fix_does_not_answer(gateway: httpx.AsyncClient, vendors: Vendors, device: Json) -> None:
    await locate(gateway, device | {"account": "first-1"})

    await locate(gateway, device | {"account": "second-1"})

    assert [asked(call)["accountName"] for call in vendors.thingspace_calls] == ["first-1", "second-1"]


async def test_the_identifier_that_is_missing_is_learned_from_an_earlier_request(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json
) -> None:
    await locate(gateway, device)

    by_imei = await locate(gateway, {"imei": device["imei"]}, maxAge=0)
    by_mdn = await locate(gateway, {"mdn": device["mdn"]}, maxAge=0)

    assert by_imei["device"] == by_mdn["device"] == device
    assert {asked(call)["deviceList"][0]["id"] for call in vendors.thingspace_calls} == {device["imei"]}


@pytest.mark.parametrize(("given", "missing"), [("imei", "mdn"), ("mdn", "imei")])
async def test_an_identifier_that_nobody_has_shown_is_asked_for(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, given: str, missing: str
) -> None:
    problem = await locate(gateway, {given: device[given]})

    assert (problem["status"], problem["code"]) == (422, "MISSING_IDENTIFIER")
    assert problem["errors"][0]["pointer"] == f"/device/{missing}"
    assert problem["attempts"][0]["outcome"] == "skipped"
    assert not vendors.thingspace_calls


async def test_an_account_that_is_missing_is_asked_for(
    database_url: str, vendors: Vendors, device: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THINGSPACE_ACCOUNT")

    async with asking(create_app(settings(database_url), vendors.transport())) as gateway:
        problem = await locate(gateway, device)

    assert (problem["status"], problem["code"]) == (422, "MISSING_IDENTIFIER")
    assert problem["errors"][0]["pointer"] == "/device"
    assert "account" in problem["errors"][0]["detail"]


async def test_every_fix_is_found_among_the_reports(gateway: httpx.AsyncClient, device: Json) -> None:
    answer = await locate(gateway, device)

    reports = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]

    [report] = reports
    assert report["location"].items() <= answer["location"].items()
    assert (report["transactionId"], report["type"], report["status"]) == (None, "location", "located")
    latest = (await gateway.get(f"/devices/{device['mdn']}/location")).json()
    assert latest["id"] == report["id"]


async def test_whether_the_accuracy_was_met_is_kept_and_shown(gateway: httpx.AsyncClient, device: Json) -> None:
    answers = [await locate(gateway, device), await locate(gateway, device)]

    assert [answer["qosMet"] for answer in answers] == [False, False]
    [report] = (await gateway.get("/reports", params={"imei": device["imei"]})).json()["reports"]
    assert report["qosMet"] is False
    table = (await gateway.get("/reports", params={"imei": device["imei"]}, headers={"Accept": "text/csv"})).text
    assert [line.rsplit(",", 1)[1] for line in table.splitlines()] == ["qosMet", "false"]


async def test_within_the_reuse_time_an_identical_question_gets_the_same_answer(
    database_url: str, vendors: Vendors
) -> None:
    async with asking(create_app(settings(database_url, reuse_seconds=60), vendors.transport())) as gateway:
        first = (await gateway.post("/locate", json={"measurements": WIFI})).json()
        second = (await gateway.post("/locate", json={"measurements": WIFI})).json()
        other = (await gateway.post("/locate", json={"measurements": WIFI, "device": {"name": "another"}})).json()

    assert second["location"] == first["location"] | {"cached": True}
    assert other["location"]["cached"] is False
    assert len(vendors.cloudlocate_calls) == 2


async def test_an_answer_of_unknown_time_is_not_given_twice(database_url: str, vendors: Vendors) -> None:
    vendors.cloudlocate = solved(DateTime="")
    async with asking(create_app(settings(database_url, reuse_seconds=60), vendors.transport())) as gateway:
        answers = [(await gateway.post("/locate", json={"measurements": WIFI})).json() for _ in range(2)]

    assert len(vendors.cloudlocate_calls) == 2
    assert all(any("time of the fix" in hint for hint in answer["hints"]) for answer in answers)


async def test_how_recent_a_stored_fix_must_be_is_a_setting(database_url: str, vendors: Vendors, device: Json) -> None:
    async with asking(create_app(settings(database_url, recent_seconds=0), vendors.transport())) as gateway:
        await locate(gateway, device)
        await locate(gateway, device)

    assert len(vendors.thingspace_calls) == 2
