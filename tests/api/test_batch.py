"""`POST /locate/batch`: many questions, each with an answer or a problem of its own."""

from typing import Any

import httpx
import pytest

from tests.support.vendors import ACCOUNT, IMEI, MDN, WIFI, Vendors, asked, refused, seen, unsolved

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


def device(number: int) -> Json:
    return {"imei": str(int(IMEI) + number), "mdn": str(int(MDN) + number)}


async def batch(gateway: httpx.AsyncClient, *items: Json, **envelope: Any) -> Json:
    response = await gateway.post("/locate/batch", json={"requests": items} | envelope)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def problem(gateway: httpx.AsyncClient, body: Any) -> Json:
    response = await gateway.post("/locate/batch", json=body)
    assert response.headers["content-type"] == "application/problem+json"
    found: Json = response.json()
    return found


async def test_answers_come_in_the_order_asked(gateway: httpx.AsyncClient) -> None:
    items = [
        {"id": "z", "measurements": WIFI},
        {"id": "bad", "measurements": {"gnss": {"payload": "!"}}},
        {"id": "a", "device": device(1)},
    ]

    answer = await batch(gateway, *items)

    assert [result["id"] for result in answer["results"]] == ["z", "bad", "a"]
    assert [result.get("location", {}).get("provider") for result in answer["results"]] == [
        "cloudlocate",
        None,
        "thingspace",
    ]
    assert answer["summary"] == {"located": 2, "failed": 1}


async def test_an_item_that_is_not_valid_has_a_problem_of_its_own(gateway: httpx.AsyncClient) -> None:
    answer = await batch(
        gateway,
        {"id": "typo", "devise": device(1)},
        {"id": "nothing"},
        {"id": "elsewhere", "device": {"phoneNumber": "+491711234567"}},
        {"id": "good", "measurements": WIFI},
    )

    problems = [result["problem"] for result in answer["results"][:3]]
    assert [(one["status"], one["code"]) for one in problems] == [
        (422, "INVALID_ARGUMENT"),
        (422, "INVALID_ARGUMENT"),
        (422, "UNSUPPORTED_IDENTIFIER"),
    ]
    assert problems[0]["errors"][0]["pointer"] == "/devise"
    assert {one["instance"] for one in problems} == {answer["requestId"]}
    assert "location" in answer["results"][3]


async def test_twenty_devices_share_a_call(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    items = [{"id": str(number), "device": device(number), "maxAge": 0} for number in range(45)]

    answer = await batch(gateway, *items)

    assert answer["summary"] == {"located": 45, "failed": 0}
    assert sorted(len(asked(call)["deviceList"]) for call in vendors.thingspace_calls) == [5, 20, 20]


async def test_devices_of_different_accounts_or_freshness_do_not_share_a_call(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    await batch(
        gateway,
        {"id": "1", "device": device(1), "maxAge": 0},
        {"id": "2", "device": device(2) | {"account": "another-1"}, "maxAge": 0},
        {"id": "3", "device": device(3)},
    )

    assert sorted((asked(call)["accountName"], asked(call)["cacheMode"]) for call in vendors.thingspace_calls) == [
        (ACCOUNT, "1"),
        (ACCOUNT, "2"),
        ("another-1", "2"),
    ]


async def test_answers_are_matched_by_number_and_never_by_position(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    def disorderly(request: httpx.Request) -> httpx.Response:
        entries = seen(request).json()
        for place, entry in enumerate(entries):
            entry["pd"]["x"] = str(place)
        stranger = entries[0] | {"msid": "5559990000"}
        return httpx.Response(200, json=[stranger, *reversed(entries[1:])])

    vendors.thingspace = disorderly

    answer = await batch(gateway, *({"id": str(n), "device": device(n), "maxAge": 0} for n in range(3)))

    missing, *others = answer["results"]
    assert missing["problem"]["code"] == "UNABLE_TO_LOCATE"
    assert [result["location"]["latitude"] for result in others] == [1.0, 2.0]


async def test_equal_questions_are_asked_once(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    answer = await batch(gateway, *({"id": str(n), "measurements": WIFI} for n in range(5)))

    assert answer["summary"]["located"] == 5
    assert len(vendors.cloudlocate_calls) == 1


async def test_measurements_without_position_lead_to_the_network(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = unsolved()

    answer = await batch(
        gateway,
        {"id": "both", "device": device(1), "measurements": WIFI},
        {"id": "measured", "measurements": WIFI},
        {"id": "no fallback", "device": device(2), "measurements": WIFI, "fallback": False},
    )

    both, measured, without = answer["results"]
    assert [attempt["provider"] for attempt in both["attempts"]] == ["cloudlocate", "thingspace"]
    assert measured["problem"]["code"] == without["problem"]["code"] == "UNABLE_TO_LOCATE"


async def test_every_item_tells_of_its_own_attempts(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = unsolved()
    vendors.thingspace = httpx.Response(503)

    answer = await batch(
        gateway,
        {"id": "both", "device": device(1), "measurements": WIFI},
        {"id": "identified", "device": device(2)},
    )

    tried = [[one["provider"] for one in result["problem"]["attempts"]] for result in answer["results"]]
    assert tried == [["cloudlocate", "thingspace"], ["thingspace"]]


async def test_a_refused_device_does_not_spoil_its_neighbours(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    def picky(request: httpx.Request) -> httpx.Response:
        listed = [entry["mdn"] for entry in asked(request)["deviceList"]]
        if device(1)["mdn"] in listed:
            return refused("INVALID_PARAMETER", "Consent check failed")
        return seen(request)

    vendors.thingspace = picky

    answer = await batch(gateway, *({"id": str(n), "device": device(n), "maxAge": 0} for n in range(3)))

    codes = [result.get("problem", {}).get("code") for result in answer["results"]]
    assert codes == [None, "CONSENT_REQUIRED", None]


async def test_the_time_of_the_envelope_holds_for_all(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = httpx.ReadTimeout("late")

    answer = await batch(gateway, {"id": "a", "measurements": WIFI}, timeout=1)

    assert answer["results"][0]["problem"]["code"] == "PROVIDER_TIMEOUT"


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        pytest.param([], "", "INVALID_FORMAT", id="no object"),
        pytest.param({}, "/requests", "MISSING", id="no requests"),
        pytest.param({"requests": []}, "/requests", "TOO_FEW", id="empty"),
        pytest.param({"requests": [{"id": "a"}], "timeouts": 1}, "/timeouts", "UNKNOWN_FIELD", id="unknown member"),
        pytest.param({"requests": ["a"]}, "/requests/0", "INVALID_FORMAT", id="an item that is no object"),
        pytest.param({"requests": [{"measurements": {}}]}, "/requests/0/id", "MISSING", id="no id"),
        pytest.param({"requests": [{"id": 1}]}, "/requests/0/id", "MISSING", id="an id that is no text"),
        pytest.param({"requests": [{"id": "a"}, {"id": "a"}]}, "/requests/1/id", "DUPLICATE", id="a doubled id"),
    ],
)
async def test_a_wrong_envelope_is_refused_as_a_whole(
    gateway: httpx.AsyncClient, body: Any, pointer: str, code: str
) -> None:
    found = await problem(gateway, body)

    assert (found["status"], found["code"]) == (422, "INVALID_ARGUMENT")
    assert (found["errors"][0]["pointer"], found["errors"][0]["code"]) == (pointer, code)


async def test_a_thousand_items_are_taken_and_one_more_is_not(gateway: httpx.AsyncClient) -> None:
    items = [{"id": str(number), "measurements": WIFI} for number in range(1001)]

    answer = await batch(gateway, *items[:1000])
    found = await problem(gateway, {"requests": items})

    assert answer["summary"]["located"] == 1000
    assert (found["status"], found["errors"][0]["code"]) == (422, "TOO_MANY")
