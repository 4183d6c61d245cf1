"""`POST /locate`: who is asked, who is not, and what comes back."""

import asyncio
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import (
    ACCOUNT,
    DEVICE,
    IMEI,
    MDN,
    WIFI,
    Vendors,
    asked,
    refused,
    seen,
    solved,
    unseen,
    unsolved,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
BOTH: Json = {"device": DEVICE, "measurements": WIFI}
CELL = ("mobileCountryCode", "mobileNetworkCode", "cellId")


async def located(gateway: httpx.AsyncClient, body: Json) -> Json:
    response = await gateway.post("/locate", json=body)
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


async def failed(gateway: httpx.AsyncClient, body: Json) -> Json:
    response = await gateway.post("/locate", json=body)
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["status"] == response.status_code
    return problem


def outcomes(answer: Json) -> list[tuple[str, str]]:
    return [(attempt["provider"], attempt["outcome"]) for attempt in answer["attempts"]]


async def test_measurements_are_solved_by_cloudlocate(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    answer = await located(gateway, {"measurements": WIFI, "device": {"name": "pump-0417"}})

    assert answer["device"] == {"name": "pump-0417"}
    assert answer["location"]["timestamp"].endswith("Z")
    assert answer["location"] | {"timestamp": "-"} == {
        "latitude": 40.712961,
        "longitude": -74.006377,
        "accuracy": 27.0,
        "confidence": 68,
        "timestamp": "-",
        "source": "wifi",
        "provider": "cloudlocate",
        "cached": False,
        "accuracyBasis": "declared",
        "reported": {"accuracy": 27.0, "confidence": 68},
    }
    assert outcomes(answer) == [("cloudlocate", "located")]
    assert not vendors.thingspace_calls


async def test_identifiers_alone_are_located_by_thingspace(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    answer = await located(gateway, {"device": DEVICE})

    assert answer["device"] == DEVICE
    assert answer["location"]["provider"] == "thingspace"
    assert (answer["location"]["accuracy"], answer["location"]["confidence"]) == (1450.0, None)
    assert outcomes(answer) == [("thingspace", "located")]
    assert asked(vendors.thingspace_calls[0])["accountName"] == ACCOUNT


async def test_x_is_latitude_and_y_is_longitude(gateway: httpx.AsyncClient) -> None:
    location = (await located(gateway, {"device": DEVICE}))["location"]

    assert (location["latitude"], location["longitude"]) == (42.09551, -71.26483)


async def test_no_position_from_measurements_leads_to_the_network(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = unsolved()

    answer = await located(gateway, BOTH)

    assert outcomes(answer) == [("cloudlocate", "no_position"), ("thingspace", "located")]
    assert answer["attempts"][0]["reason"]
    assert "reason" not in answer["attempts"][1]


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        pytest.param(httpx.ConnectError("refused"), "unavailable", id="no connection"),
        pytest.param(httpx.ReadTimeout("late"), "timeout", id="no answer"),
        pytest.param(httpx.Response(503), "unavailable", id="503"),
        pytest.param(httpx.Response(429), "unavailable", id="429"),
        pytest.param(httpx.Response(401), "unavailable", id="bad credentials"),
        pytest.param(httpx.Response(200, content=b"<html>"), "unavailable", id="not JSON"),
    ],
)
async def test_trouble_at_the_first_provider_leads_to_the_next(
    gateway: httpx.AsyncClient, vendors: Vendors, trouble: Any, outcome: str
) -> None:
    vendors.cloudlocate = trouble

    answer = await located(gateway, BOTH)

    assert outcomes(answer) == [("cloudlocate", outcome), ("thingspace", "located")]


async def test_without_fallback_nobody_else_is_asked(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = unsolved()

    problem = await failed(gateway, BOTH | {"fallback": False})

    assert (problem["status"], problem["code"]) == (422, "UNABLE_TO_LOCATE")
    assert outcomes(problem) == [("cloudlocate", "no_position")]
    assert not vendors.thingspace_calls


@pytest.mark.parametrize("provider", ["cloudlocate", "thingspace"])
async def test_a_named_provider_is_the_only_one_asked(
    gateway: httpx.AsyncClient, vendors: Vendors, provider: str
) -> None:
    vendors.cloudlocate = vendors.thingspace = httpx.Response(503)

    problem = await failed(gateway, BOTH | {"provider": provider})

    assert (problem["status"], problem["code"]) == (503, "PROVIDER_UNAVAILABLE")
    assert outcomes(problem) == [(provider, "unavailable")]
    assert problem["provider"]["name"] == provider


async def test_an_unknown_provider_is_refused_with_the_names_there_are(gateway: httpx.AsyncClient) -> None:
    problem = await failed(gateway, BOTH | {"provider": "here"})

    assert (problem["status"], problem["code"]) == (422, "INVALID_ARGUMENT")
    assert problem["errors"][0]["pointer"] == "/provider"
    assert "auto, cloudlocate, thingspace" in problem["errors"][0]["detail"]


async def test_the_last_failure_is_told_with_everything_that_was_tried(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.cloudlocate = httpx.ConnectError("refused")
    vendors.thingspace = unseen("POSITION METHOD FAILURE", "Exception code=ABSENT SUBSCRIBER")

    problem = await failed(gateway, BOTH)

    assert (problem["status"], problem["code"], problem["retryable"]) == (422, "DEVICE_UNREACHABLE", True)
    assert outcomes(problem) == [("cloudlocate", "unavailable"), ("thingspace", "no_position")]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        pytest.param("INVALID_PARAMETER", "Consent check failed", "CONSENT_REQUIRED", id="no consent"),
        pytest.param("INVALID_PARAMETER", "Device ownership check failed", "DEVICE_NOT_OWNED", id="not owned"),
        pytest.param("INVALID_PARAMETER", "Device type check failed", "SERVICE_NOT_APPLICABLE", id="not of the IoT"),
    ],
)
async def test_a_refusal_is_final(
    gateway: httpx.AsyncClient, vendors: Vendors, code: str, message: str, expected: str
) -> None:
    vendors.thingspace = refused(code, message)

    problem = await failed(gateway, {"device": DEVICE, "maxAge": 60})

    assert problem["code"] == expected
    assert problem["retryable"] is False
    assert outcomes(problem) == [("thingspace", "refused")]
    assert len(vendors.thingspace_calls) == 1


async def test_one_access_point_is_never_sent(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    alone = {"wifiAccessPoints": WIFI["wifiAccessPoints"][:1]}

    problem = await failed(gateway, {"measurements": alone})

    assert (problem["status"], problem["code"]) == (422, "UNUSABLE_MEASUREMENTS")
    assert not vendors.cloudlocate_calls


async def test_a_useless_part_is_left_out_with_a_hint(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    unsupported = [{"radioType": "nr", "mobileCountryCode": 262, "mobileNetworkCode": 1, "cellId": 7, "serving": True}]

    answer = await located(gateway, {"measurements": WIFI | {"cellTowers": unsupported}})

    assert any(hint.startswith("cell:") for hint in answer["hints"])
    assert "CellMeasurements" not in asked(vendors.cloudlocate_calls[0])


async def test_useless_measurements_of_an_identified_device_lead_to_the_network_with_a_hint(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    alone = {"wifiAccessPoints": WIFI["wifiAccessPoints"][:1]}

    answer = await located(gateway, {"device": DEVICE, "measurements": alone})

    assert answer["location"]["provider"] == "thingspace"
    assert any(hint.startswith("wifi:") for hint in answer["hints"])
    assert not vendors.cloudlocate_calls


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        pytest.param({"gnss": {"payload": "!!"}}, "/measurements/gnss/payload", id="no base64"),
        pytest.param(
            {"wifiAccessPoints": [{"macAddress": "none", "signalStrength": -50}]},
            "/measurements/wifiAccessPoints/0/macAddress",
            id="no MAC",
        ),
        pytest.param(
            {"cellTowers": [{"radioType": "lte", "serving": True, "mobileCountryCode": 262, "mobileNetworkCode": 1}]},
            "/measurements/cellTowers/0/cellId",
            id="a serving cell without its id",
        ),
    ],
)
async def test_a_malformed_part_is_refused_even_beside_good_ones(
    gateway: httpx.AsyncClient, vendors: Vendors, part: Json, pointer: str
) -> None:
    good = {"wifiAccessPoints": WIFI["wifiAccessPoints"]}

    problem = await failed(gateway, {"device": DEVICE, "measurements": good | part})

    assert (problem["status"], problem["code"]) == (422, "INVALID_ARGUMENT")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert not vendors.cloudlocate_calls
    assert not vendors.thingspace_calls


async def test_one_bad_entry_of_a_list_is_left_out_with_a_hint_that_names_it(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    serving = {"radioType": "lte", "mobileCountryCode": 262, "mobileNetworkCode": 1, "cellId": 7, "channel": 1300}
    measurements = {
        "wifiAccessPoints": [{"macAddress": "01:00:5e:00:00:01", "signalStrength": -50}, *WIFI["wifiAccessPoints"]],
        "cellTowers": [serving, {"physicalCellId": 1}],
    }

    hints = (await located(gateway, {"measurements": measurements}))["hints"]

    assert any(hint.startswith("wifi: left out /measurements/wifiAccessPoints/0: ") for hint in hints)
    assert any(hint.startswith("cell: left out /measurements/cellTowers/1: ") for hint in hints)
    sent = asked(vendors.cloudlocate_calls[0])
    assert (len(sent["WiFiMeasurements"]), len(sent["CellMeasurements"]["NetworkCells"])) == (3, 1)


@pytest.mark.parametrize(
    ("measurements", "pointers"),
    [
        pytest.param({}, ["/measurements"], id="nothing"),
        pytest.param(
            {"wifiAccessPoints": [WIFI["wifiAccessPoints"][0], WIFI["wifiAccessPoints"][1] | {"signalStrength": 71}]},
            ["/measurements/wifiAccessPoints/1/signalStrength", "/measurements/wifiAccessPoints"],
            id="a strength in another unit",
        ),
        pytest.param({"gnss": {"payload": ""}}, ["/measurements/gnss/payload"], id="an empty payload"),
        pytest.param(
            {"cellTowers": [{"radioType": "nr", "serving": True} | dict.fromkeys(CELL, 1)]},
            ["/measurements/cellTowers/0/radioType"],
            id="a radio that is not supported",
        ),
        pytest.param(
            {"gnss": {"payload": ""}, "cellTowers": [{"physicalCellId": 1}]},
            ["/measurements/gnss/payload", "/measurements/cellTowers"],
            id="two useless groups",
        ),
    ],
)
async def test_measurements_that_cannot_be_used_have_pointers(
    gateway: httpx.AsyncClient, vendors: Vendors, measurements: Json, pointers: list[str]
) -> None:
    problem = await failed(gateway, {"measurements": measurements})

    assert (problem["status"], problem["code"]) == (422, "UNUSABLE_MEASUREMENTS")
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert not vendors.cloudlocate_calls


@pytest.mark.parametrize("written", ["2026-03-02T10:14:55+02:00", "1772439295", "Mon, 02 Mar 2026 08:14:55 GMT"])
async def test_the_time_of_the_callers_scan_is_the_time_of_the_fix(gateway: httpx.AsyncClient, written: str) -> None:
    scan = WIFI | {"observedAt": written}

    location = (await located(gateway, {"measurements": scan}))["location"]

    assert location["timestamp"] == "2026-03-02T08:14:55Z"


async def test_each_hop_gets_what_time_is_left(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    vendors.cloudlocate = never
    began = asyncio.get_running_loop().time()

    problem = await failed(gateway, BOTH | {"timeout": 0.3})

    assert (problem["status"], problem["code"]) == (504, "PROVIDER_TIMEOUT")
    assert outcomes(problem) == [("cloudlocate", "timeout"), ("thingspace", "skipped")]
    assert not vendors.thingspace_calls
    assert asyncio.get_running_loop().time() - began < 5


async def test_identical_questions_in_flight_share_one_call(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    async def slowly(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)
        return solved()

    vendors.cloudlocate = slowly

    answers = await asyncio.gather(*(located(gateway, {"measurements": WIFI}) for _ in range(40)))

    assert len(vendors.cloudlocate_calls) == 1
    assert len({answer["requestId"] for answer in answers}) == 40
    assert {answer["location"]["cached"] for answer in answers} == {False}


async def test_a_shared_failure_reaches_everybody(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    async def slowly(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.05)
        return httpx.Response(503)

    vendors.cloudlocate = slowly

    problems = await asyncio.gather(*(failed(gateway, {"measurements": WIFI}) for _ in range(10)))

    assert {problem["code"] for problem in problems} == {"PROVIDER_UNAVAILABLE"}
    assert len(vendors.cloudlocate_calls) == 1
    assert len({problem["instance"] for problem in problems}) == 10


async def test_different_questions_do_not_share(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    named = [{"measurements": WIFI, "device": {"name": name}} for name in ("a", "b")]

    await asyncio.gather(*(located(gateway, body) for body in named))

    assert len(vendors.cloudlocate_calls) == 2


async def test_a_question_asked_again_later_is_asked_anew(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    await located(gateway, {"measurements": WIFI})
    await located(gateway, {"measurements": WIFI})

    assert len(vendors.cloudlocate_calls) == 2


async def test_forty_first_questions_make_one_login(database_url: str, vendors: Vendors) -> None:
    devices = [{"imei": str(int(IMEI) + n), "mdn": str(int(MDN) + n)} for n in range(40)]

    async with asking(create_app(settings(database_url), vendors.transport())) as fresh:
        await asyncio.gather(*(located(fresh, {"device": device}) for device in devices))

    assert vendors.logins == 1


@pytest.mark.parametrize(
    ("device", "sent"),
    [
        pytest.param({"phoneNumber": "+15085550101", "imei": IMEI}, ("imei", IMEI), id="phone number"),
        pytest.param({"meid": "a1000049d2c3e4", "mdn": MDN}, ("meid", "A1000049D2C3E4"), id="MEID"),
        pytest.param({"esn": "12345678901", "mdn": MDN}, ("esn", "12345678901"), id="ESN"),
    ],
)
async def test_every_kind_of_identifier_reaches_thingspace(
    gateway: httpx.AsyncClient, vendors: Vendors, device: Json, sent: tuple[str, str]
) -> None:
    await located(gateway, {"device": device})

    [entry] = asked(vendors.thingspace_calls[0])["deviceList"]
    assert (entry["kind"], entry["id"], entry["mdn"]) == (*sent, MDN)


async def test_a_phone_number_from_elsewhere_is_not_supported(gateway: httpx.AsyncClient) -> None:
    problem = await failed(gateway, {"device": {"phoneNumber": "+491711234567", "imei": IMEI}})

    assert (problem["status"], problem["code"]) == (422, "UNSUPPORTED_IDENTIFIER")
    assert problem["errors"][0]["pointer"] == "/device/phoneNumber"


async def test_the_callers_account_goes_before_the_default(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = seen

    answer = await located(gateway, {"device": DEVICE | {"account": "another-1"}})

    assert answer["device"]["account"] == "another-1"
    assert asked(vendors.thingspace_calls[0])["accountName"] == "another-1"


@pytest.mark.parametrize("body", [{"device": {"name": "pump"}}, {"device": {}}], ids=["a name alone", "nothing"])
async def test_a_device_without_identifier_cannot_be_located(gateway: httpx.AsyncClient, body: Json) -> None:
    problem = await failed(gateway, body)

    assert (problem["status"], problem["code"]) == (422, "MISSING_IDENTIFIER")
    assert problem["errors"][0]["pointer"] == "/device"
