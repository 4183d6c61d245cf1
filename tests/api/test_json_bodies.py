"""JSON as clients really write it: nulls, numbers, base64, and what is no JSON."""

import base64
import json

import httpx
import pytest

from tests.support.vendors import DEVICE, IMEI, MDN, WIFI, Vendors, asked

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
GNSS = "tWIChjIAWwLDWtF1QCl6N+kkiCpUoaByVdTe6yNF78Jm0txisDxBql1fwr9l3Kg6dR6mBQZIo5HSug=="
NOTHING_ELSE = {"meid": None, "esn": None, "phoneNumber": None}


async def post(gateway: httpx.AsyncClient, path: str, text: str | bytes, **headers: str) -> httpx.Response:
    return await gateway.post(path, content=text, headers=JSON | headers)


def errors_of(response: httpx.Response) -> list[tuple[str, str]]:
    assert response.status_code == 422, response.text
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


async def test_null_is_absent_for_every_optional_member_of_a_query(gateway: httpx.AsyncClient) -> None:
    device = DEVICE | NOTHING_ELSE | {"account": None, "name": None}
    nulls = dict.fromkeys(("measurements", "maxAge", "provider", "fallback", "timeout"))

    response = await gateway.post("/locate", json={"device": device} | nulls)

    assert response.status_code == 200, response.text


async def test_null_is_absent_in_every_part_of_the_measurements(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    points = [point | {"channel": None} for point in WIFI["wifiAccessPoints"]]
    measurements = {"observedAt": None, "gnss": None, "wifiAccessPoints": points, "cellTowers": None}

    response = await gateway.post("/locate", json={"measurements": measurements})

    assert response.status_code == 200, response.text
    assert [set(point) for point in asked(vendors.cloudlocate_calls[0])["WiFiMeasurements"]] == 3 * [
        {"BSSID", "SignalStrength"}
    ]


async def test_null_is_absent_in_a_batch_and_in_its_items(gateway: httpx.AsyncClient) -> None:
    item = {"id": "a", "device": DEVICE} | dict.fromkeys(("provider", "fallback", "timeout", "maxAge"))

    response = await gateway.post("/locate/batch", json={"timeout": None, "requests": [item]})

    assert response.json()["summary"] == {"located": 1, "failed": 0}


async def test_null_for_all_that_could_be_gone_by_is_nothing_to_go_by(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post("/locate", json={"device": None, "measurements": None})

    assert errors_of(response) == [("", "INVALID_FORMAT")]


async def test_null_for_a_required_member_is_told_as_missing(gateway: httpx.AsyncClient) -> None:
    key = await gateway.post("/keys", json={"name": "x", "scopes": None})
    gnss = await gateway.post("/locate", json={"measurements": {"gnss": {"payload": None}}})

    assert errors_of(key) == [("/scopes", "MISSING")]
    assert errors_of(gnss) == [("/measurements/gnss/payload", "MISSING")]


async def test_null_does_not_make_an_unknown_member_known(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post("/locate", json={"device": DEVICE, "considerIp": None})

    assert errors_of(response) == [("/considerIp", "UNKNOWN_FIELD")]


async def test_null_is_no_entry_of_a_list(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post("/locate", json={"measurements": {"wifiAccessPoints": [None]}})

    assert errors_of(response) == [("/measurements/wifiAccessPoints/0", "INVALID_FORMAT")]


@pytest.mark.parametrize("number", ["300", "300.0", "3e2", "3E+2", "3.0e2", "3000e-1"])
async def test_a_number_without_a_fraction_is_an_integer(gateway: httpx.AsyncClient, number: str) -> None:
    query = await post(gateway, "/locate", f'{{"device": {json.dumps(DEVICE)}, "maxAge": {number}}}')
    key = await post(gateway, "/keys", f'{{"name": "n", "scopes": ["locate"], "dailyFixes": {number}}}')

    assert query.status_code == 200, query.text
    assert key.json()["dailyFixes"] == 300


async def test_integers_of_a_scan_may_be_written_with_a_fraction(gateway: httpx.AsyncClient, vendors: Vendors) -> None:
    tower = (
        '{"radioType": "lte", "mobileCountryCode": 262.0, "mobileNetworkCode": 1.0, "locationAreaCode": 4711,'
        ' "cellId": 2.6385408E7, "serving": true}'
    )
    point = '{"macAddress": "3c:37:86:10:22:9%d", "signalStrength": -58.0, "channel": 6.0}'
    points = f"[{point % 1}, {point % 2}]"

    response = await post(
        gateway, "/locate", f'{{"measurements": {{"cellTowers": [{tower}], "wifiAccessPoints": {points}}}}}'
    )

    assert response.status_code == 200, response.text
    sent = asked(vendors.cloudlocate_calls[0])
    assert b".0" not in vendors.cloudlocate_calls[0].content
    assert (sent["CellMeasurements"]["HomeMCC"], sent["WiFiMeasurements"][0]["Channel"]) == (262, 6)
    assert sent["CellMeasurements"]["NetworkCells"][0]["CellIdentifier"] == 26385408


@pytest.mark.parametrize("number", ["300.5", '"300"', "true", "1e400", "-1e400", "1e300", "1" * 20, "1" * 400, "[300]"])
async def test_what_is_no_integer_in_range_is_refused(gateway: httpx.AsyncClient, number: str) -> None:
    point = f'{{"macAddress": "3c:37:86:10:22:9a", "channel": {number}}}'
    measurements = f'"measurements": {{"wifiAccessPoints": [{point}]}}'

    alone = await post(gateway, "/locate", f"{{{measurements}}}")
    batch = await post(gateway, "/locate/batch", f'{{"requests": [{{"id": "a", {measurements}}}]}}')

    assert [pointer for pointer, _ in errors_of(alone)] == ["/measurements/wifiAccessPoints/0/channel"]
    assert batch.json()["results"][0]["problem"]["errors"] == alone.json()["errors"]


@pytest.mark.parametrize("number", ["1e400", "NaN", '"20"', "true"])
async def test_a_time_that_is_no_number_is_refused(gateway: httpx.AsyncClient, number: str) -> None:
    response = await post(gateway, "/locate", f'{{"device": {json.dumps(DEVICE)}, "timeout": {number}}}')

    assert response.status_code == (400 if number == "NaN" else 422)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(f'{{"device": {{"imei": "{IMEI}"}},}}', "trailing comma", id="trailing comma"),
        pytest.param('{"maxAge": 1, "maxAge": 2}', "two members of the same name", id="a member twice"),
        pytest.param(f'{{"device": {{"mdn": "{MDN}", "mdn": "{MDN}"}}}}', "same name", id="a member twice, inside"),
        pytest.param('{"maxAge": NaN}', "expected value", id="NaN"),
        pytest.param('{"maxAge": -Infinity}', "invalid number", id="infinity"),
        pytest.param('{"maxAge": 1 /* second */}', "line 1", id="a comment"),
        pytest.param("// query\n{}", "line 1", id="a line of comment"),
        pytest.param("{maxAge: 1}", "key must be a string", id="a name without quotes"),
        pytest.param('{"requests": [{"id": "a", "maxAge": NaN}]}', "expected value", id="NaN in an item"),
        pytest.param('{"maxAge": 1} {}', "trailing characters", id="two bodies"),
    ],
)
async def test_what_is_no_json_is_told_with_its_place(gateway: httpx.AsyncClient, text: str, told: str) -> None:
    for path in ("/locate", "/locate/batch"):
        problem = (await post(gateway, path, text)).json()

        assert (problem["status"], problem["code"]) == (400, "MALFORMED_JSON")
        assert told in problem["detail"]
        assert IMEI not in problem["detail"]
        assert MDN not in problem["detail"]


WRAPPED = "\r\n".join(GNSS[at : at + 16] for at in range(0, len(GNSS), 16))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(WRAPPED, id="wrapped"),
        pytest.param(f"  {GNSS[:20]} {GNSS[20:]}\n", id="spaces"),
        pytest.param(GNSS.rstrip("="), id="without padding"),
        pytest.param(GNSS.replace("+", "-").replace("/", "_"), id="URL-safe"),
    ],
)
async def test_base64_is_read_however_it_is_written(gateway: httpx.AsyncClient, vendors: Vendors, payload: str) -> None:
    response = await gateway.post("/locate", json={"measurements": {"gnss": {"payload": payload}}})

    assert response.status_code == 200, response.text
    assert asked(vendors.cloudlocate_calls[0])["GNSSMeasurements"]["Payload"] == GNSS


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        pytest.param(base64.b64decode(GNSS).hex(), "looks like hexadecimal", id="hexadecimal"),
        pytest.param(base64.b64decode(GNSS).hex(" ").upper(), "looks like hexadecimal", id="with spaces"),
        pytest.param(base64.b64decode(GNSS).hex(":"), "looks like hexadecimal", id="with colons"),
        pytest.param("0x" + base64.b64decode(GNSS).hex(), "looks like hexadecimal", id="with 0x"),
        pytest.param(base64.b64decode(GNSS)[6:56].hex(), "looks like hexadecimal", id="a bare payload"),
        pytest.param(f"data:application/octet-stream;base64,{GNSS}", "is a data: URL", id="data URL"),
        pytest.param("tWICh*", "must be base64", id="another character"),
        pytest.param(GNSS[:-3], "must be base64", id="cut"),
    ],
)
async def test_what_is_no_base64_is_refused_as_what_it_is(
    gateway: httpx.AsyncClient, vendors: Vendors, payload: str, told: str
) -> None:
    response = await gateway.post("/locate", json={"measurements": WIFI | {"gnss": {"payload": payload}}})

    assert errors_of(response) == [("/measurements/gnss/payload", "INVALID_FORMAT")]
    assert told in response.json()["errors"][0]["detail"]
    assert not vendors.cloudlocate_calls
