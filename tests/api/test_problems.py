"""Every failure is a problem document: which, with which pointer, and what it never repeats."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import DEVICE, WIFI, Vendors, refused, unseen

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
POINT = {"macAddress": "3c:37:86:10:22:9a", "signalStrength": -58}


def problem_of(response: httpx.Response) -> Json:
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["status"] == response.status_code
    assert problem["instance"] == response.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        pytest.param([], "", "INVALID_FORMAT", id="a list"),
        pytest.param("text", "", "INVALID_FORMAT", id="a text"),
        pytest.param(None, "", "INVALID_FORMAT", id="null"),
        pytest.param({}, "", "INVALID_FORMAT", id="nothing to go by"),
        pytest.param({"device": None, "measurements": None}, "", "INVALID_FORMAT", id="nulls"),
        pytest.param({"device": DEVICE, "max_age": 3}, "/max_age", "UNKNOWN_FIELD", id="unknown member"),
        pytest.param({"device": DEVICE | {"iccid": "1"}}, "/device/iccid", "UNKNOWN_FIELD", id="unknown identifier"),
        pytest.param({"device": {"imei": "1" * 13}}, "/device/imei", "INVALID_FORMAT", id="IMEI of 13 digits"),
        pytest.param({"device": {"imei": "1" * 17}}, "/device/imei", "INVALID_FORMAT", id="IMEI of 17 digits"),
        pytest.param({"device": {"imei": 990001123456782}}, "/device/imei", "INVALID_FORMAT", id="IMEI as a number"),
        pytest.param({"device": {"mdn": "150855501"}}, "/device/mdn", "INVALID_FORMAT", id="MDN of 9 digits"),
        pytest.param({"device": {"meid": "A1000049D2C3EX"}}, "/device/meid", "INVALID_FORMAT", id="MEID not hex"),
        pytest.param({"device": {"imei": "1" * 15, "esn": "1" * 11}}, "/device", "INVALID_FORMAT", id="two ids"),
        pytest.param(
            {"device": {"mdn": "5085550101", "phoneNumber": "+15085550101"}},
            "/device",
            "INVALID_FORMAT",
            id="2 numbers",
        ),
        pytest.param({"device": {"phoneNumber": "5085550101"}}, "/device/phoneNumber", "INVALID_FORMAT", id="no plus"),
        pytest.param({"device": {"name": "a" * 129}}, "/device/name", "TOO_LONG", id="a name too long"),
        pytest.param({"device": {"name": ""}}, "/device/name", "TOO_SHORT", id="an empty name"),
        pytest.param({"device": {"name": "a\x00b"}}, "/device/name", "INVALID_FORMAT", id="NUL in a name"),
        pytest.param({"device": DEVICE, "maxAge": -1}, "/maxAge", "OUT_OF_RANGE", id="negative age"),
        pytest.param({"device": DEVICE, "maxAge": 1.5}, "/maxAge", "INVALID_FORMAT", id="half seconds"),
        pytest.param({"device": DEVICE, "maxAge": True}, "/maxAge", "INVALID_FORMAT", id="a boolean age"),
        pytest.param({"device": DEVICE, "timeout": 0}, "/timeout", "OUT_OF_RANGE", id="no time"),
        pytest.param({"device": DEVICE, "timeout": 121}, "/timeout", "OUT_OF_RANGE", id="too much time"),
        pytest.param({"device": DEVICE, "fallback": "no"}, "/fallback", "INVALID_FORMAT", id="fallback as text"),
        pytest.param(
            {"measurements": {"wifiAccessPoints": [POINT, POINT | {"signalStrength": "x"}]}},
            "/measurements/wifiAccessPoints/1/signalStrength",
            "INVALID_FORMAT",
            id="signal as text",
        ),
        pytest.param(
            {"measurements": WIFI | {"observedAt": "2026-03-02T08:14:55"}},
            "/measurements/observedAt",
            "INVALID_FORMAT",
            id="a time without offset",
        ),
        pytest.param(
            {"measurements": WIFI | {"observedAt": 1772439295}},
            "/measurements/observedAt",
            "INVALID_FORMAT",
            id="a time as a number",
        ),
        pytest.param(
            {"measurements": WIFI | {"observedAt": "2099-03-02T08:14:55Z"}},
            "/measurements/observedAt",
            "IN_THE_FUTURE",
            id="a time of the future",
        ),
        pytest.param(
            {"measurements": {"cellTowers": [{"radioType": "lte", "mobileCountryCode": 1000}]}},
            "/measurements/cellTowers/0/mobileCountryCode",
            "OUT_OF_RANGE",
            id="MCC of four digits",
        ),
    ],
)
async def test_a_pointer_leads_to_the_wrong_field(
    gateway: httpx.AsyncClient, vendors: Vendors, body: Any, pointer: str, code: str
) -> None:
    content = json.dumps(body).encode()
    problem = problem_of(await gateway.post("/locate", content=content))

    assert (problem["status"], problem["code"], problem["retryable"]) == (422, "INVALID_ARGUMENT", False)
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in problem["errors"]]
    assert not vendors.cloudlocate_calls
    assert not vendors.thingspace_calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'device': 1}",
        b"nonsense",
        b'{"a": NaN}',
        b"\xff\xfe",
        b'"\xc3"',
        b"[" * 5000,
        b'{"device": "\\ud800"}',
    ],
    ids=["empty", "cut", "single quotes", "words", "NaN", "UTF-16", "not UTF-8", "nested deeply", "half a surrogate"],
)
async def test_what_is_no_json_is_told_as_such(gateway: httpx.AsyncClient, body: bytes) -> None:
    response = await gateway.post("/locate", content=body, headers={"content-type": "application/json"})

    assert (problem_of(response)["code"], response.status_code) == ("MALFORMED_JSON", 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_another_media_type_is_not_read(gateway: httpx.AsyncClient, content_type: str) -> None:
    response = await gateway.post("/locate", content=b"{}", headers={"content-type": content_type})

    assert (problem_of(response)["code"], response.status_code) == ("UNSUPPORTED_MEDIA_TYPE", 415)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.api+json", "Application/JSON"]
)
async def test_every_kind_of_json_is_read(gateway: httpx.AsyncClient, content_type: str) -> None:
    body = json.dumps({"measurements": WIFI}).encode()

    response = await gateway.post("/locate", content=body, headers={"content-type": content_type})

    assert response.status_code == 200


async def test_a_body_over_the_limit_is_not_read(database_url: str, vendors: Vendors) -> None:
    async def endless() -> Any:
        for _ in range(3):
            yield b" " * 1000

    async with asking(create_app(settings(database_url, max_body_bytes=2048), vendors.transport())) as gateway:
        declared = await gateway.post("/locate", content=b" " * 2049)
        streamed = await gateway.post("/locate", content=endless())

    assert problem_of(declared)["code"] == problem_of(streamed)["code"] == "BODY_TOO_LARGE"


async def test_another_method_is_told_which_there_are(gateway: httpx.AsyncClient) -> None:
    response = await gateway.get("/locate")

    assert (problem_of(response)["code"], response.status_code) == ("METHOD_NOT_ALLOWED", 405)
    assert response.headers["allow"] == "POST"


async def test_all_methods_of_a_path_are_told_whatever_they_read(gateway: httpx.AsyncClient) -> None:
    response = await gateway.put("/periodic", json={})

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "path", ["/nothing", "/locate/nothing", "/periodic/nothing", "/callbacks/nothing", "/v1/locate"]
)
async def test_a_path_that_leads_nowhere(gateway: httpx.AsyncClient, path: str) -> None:
    response = await gateway.get(path)

    assert (problem_of(response)["code"], response.status_code) == ("NOT_FOUND", 404)


async def test_a_misspelt_filter_does_not_go_unnoticed(gateway: httpx.AsyncClient) -> None:
    problem = problem_of(await gateway.get("/callbacks", params={"stat": "stored"}))

    assert (problem["code"], problem["errors"][0]["pointer"]) == ("INVALID_ARGUMENT", "/query/stat")


async def test_nul_in_an_address_is_not_passed_on(gateway: httpx.AsyncClient) -> None:
    in_query = problem_of(await gateway.get("/reports?limit=3&imei=1%002"))
    in_path = problem_of(await gateway.get("/devices/1%002/location"))

    assert (in_query["code"], in_query["errors"][0]["pointer"]) == ("INVALID_ARGUMENT", "/query/imei")
    assert in_path["code"] == "NOT_FOUND"


async def test_a_wrong_parameter_has_a_pointer(gateway: httpx.AsyncClient) -> None:
    problem = problem_of(await gateway.get("/callbacks", params={"limit": "1001"}))

    assert (problem["code"], problem["errors"][0]["pointer"]) == ("INVALID_ARGUMENT", "/query/limit")


VENDOR_FAILURES = [
    pytest.param(
        httpx.Response(400, json={"errorCode": "X", "errorMessage": "odd"}), 502, "PROVIDER_REFUSED", id="400"
    ),
    pytest.param(refused("INVALID_PARAMETER", "Consent check failed"), 403, "CONSENT_REQUIRED", id="consent"),
    pytest.param(refused("INVALID_PARAMETER", "Device ownership check"), 403, "DEVICE_NOT_OWNED", id="ownership"),
    pytest.param(refused("INVALID_PARAMETER", "Device type check"), 422, "SERVICE_NOT_APPLICABLE", id="device type"),
    pytest.param(refused("DEVICE_NOT_FOUND", "Device not found"), 404, "IDENTIFIER_NOT_FOUND", id="unknown device"),
    pytest.param(unseen("POSITION METHOD FAILURE", "ABSENT SUBSCRIBER"), 422, "DEVICE_UNREACHABLE", id="absent"),
    pytest.param(unseen("SYSTEM FAILURE"), 422, "UNABLE_TO_LOCATE", id="no position"),
    pytest.param(httpx.Response(429, headers={"Retry-After": "7"}), 429, "QUOTA_EXCEEDED", id="429"),
    pytest.param(httpx.Response(200, content=b"<html>"), 502, "PROVIDER_BAD_RESPONSE", id="not JSON"),
    pytest.param(httpx.Response(500, content=b"<html>"), 503, "PROVIDER_UNAVAILABLE", id="500"),
    pytest.param(httpx.ConnectError("x"), 503, "PROVIDER_UNAVAILABLE", id="no connection"),
    pytest.param(httpx.ReadTimeout("x"), 504, "PROVIDER_TIMEOUT", id="no answer"),
]


@pytest.mark.parametrize(("trouble", "status", "code"), VENDOR_FAILURES)
async def test_what_a_vendor_does_has_a_code(
    gateway: httpx.AsyncClient, vendors: Vendors, trouble: Any, status: int, code: str
) -> None:
    vendors.thingspace = trouble

    response = await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0})

    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (status, code)
    assert problem["provider"]["name"] == "thingspace"
    assert problem["attempts"][0]["provider"] == "thingspace"
    assert problem["attempts"][0]["reason"]


async def test_a_vendors_word_on_when_to_come_back_is_handed_on(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.thingspace = httpx.Response(429, headers={"Retry-After": "7"})

    response = await gateway.post("/locate", json={"device": DEVICE})

    assert response.headers["retry-after"] == "7"
    assert response.json()["retryable"] is True


async def test_bad_credentials_are_told_and_count_as_a_failure(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = httpx.Response(401)

    problem = problem_of(await gateway.post("/locate", json={"measurements": WIFI}))

    assert (problem["status"], problem["code"]) == (502, "PROVIDER_AUTH_FAILED")
    state = (await gateway.get("/providers")).json()["providers"][0]
    assert (state["state"], state["lastError"]) == ("failing", "PROVIDER_AUTH_FAILED")


async def test_a_vendors_words_are_handed_on_without_account_and_identifiers(
    gateway: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.thingspace = refused("ODD", f"Account 0844559123-00001 dislikes {DEVICE['imei']} and {DEVICE['mdn']}")

    problem = problem_of(await gateway.post("/locate", json={"device": DEVICE, "maxAge": 0}))

    assert problem["provider"]["code"] == "ODD"
    assert problem["provider"]["message"] == "Account *** dislikes *** and ***"


class ProviderThatBreaks:
    """Raises what nobody foresaw, with an identifier in its text."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        raise LookupError(DEVICE["imei"])


async def test_what_nobody_foresaw_is_a_constant_text(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.cloudlocate = ProviderThatBreaks()

    with capture_logs() as logs:
        response = await gateway.post("/locate", json={"measurements": WIFI})

    problem = problem_of(response)
    assert (problem["status"], problem["code"], problem["detail"]) == (500, "INTERNAL", "The gateway failed")
    assert DEVICE["imei"] not in response.text + repr(logs)
    assert "LookupError" in repr(logs)


marks = st.from_regex(r"mark[a-z]{12}", fullmatch=True)
numbers = st.from_regex(r"9[0-9]{14}", fullmatch=True)
junk = st.recursive(
    marks | numbers, lambda inner: st.lists(inner, max_size=2) | st.fixed_dictionaries({"name": inner}), max_leaves=4
)
members = st.sampled_from(
    ["imei", "meid", "esn", "mdn", "phoneNumber", "account", "name", "maxAge", "provider", "timeout", "fallback"]
)


@limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(members, junk, min_size=1, max_size=4), scan=junk, payload=marks)
async def test_problems_and_logs_repeat_nothing_of_the_request(
    gateway: httpx.AsyncClient, vendors: Vendors, values: Json, scan: Any, payload: str
) -> None:
    device = {
        name: value for name, value in values.items() if name not in ("maxAge", "provider", "timeout", "fallback")
    }
    rest = {name: value for name, value in values.items() if name not in device}
    body = {"device": device, "measurements": {"wifiAccessPoints": [scan], "gnss": {"payload": payload}}} | rest
    vendors.cloudlocate = vendors.thingspace = httpx.Response(400, json={"errorCode": "X", "errorMessage": "no"})

    with capture_logs() as logs:
        response = await gateway.post("/locate", json=body)

    assert response.status_code in (422, 502, 503)
    told = response.text + repr(logs)
    assert not [leaf for leaf in leaves(body) if leaf in told]
    assert "Bearer" not in told


def leaves(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [leaf for one in value.values() for leaf in leaves(one)]
        case list():
            return [leaf for one in value for leaf in leaves(one)]
    return []


async def test_an_identifier_is_in_no_log_line_of_a_located_device(
    gateway: httpx.AsyncClient,
) -> None:
    with capture_logs() as logs:
        answer = await gateway.post("/locate", json={"device": DEVICE})
        await gateway.get(f"/devices/{DEVICE['imei']}/location")
        metrics = (await gateway.get("/metrics")).text

    told = repr(logs) + metrics
    location = answer.json()["location"]
    private = [*DEVICE.values(), str(location["latitude"]), str(location["longitude"])]
    assert not [one for one in private if one in told]
