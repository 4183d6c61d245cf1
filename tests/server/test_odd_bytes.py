"""Bytes that nobody expects in headers, paths and queries: refused by name, and never an internal error."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from tests.support.gateways import KEY
from tests.support.raw_http import Place, answers

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = [
    *("/locate", "/locate/batch", "/periodic", "/periodic/{}", "/periodic/{}/devices", "/periodic/{}/reports"),
    *("/reports", "/reports/{}", "/devices/{}", "/devices/{}/location", "/positions", "/audit", "/keys", "/keys/{}"),
    *("/keys/{}/rotate", "/callbacks", "/callbacks/{}", "/callbacks/{}/replay", "/callbacks/thingspace/{}"),
    *("/listeners", "/listeners/{}/{}", "/listeners/{}/{}/test", "/providers/{}/reset", "/docs-assets/{}", "/{}"),
]
PARAMETERS = [
    *("limit", "cursor", "since", "until", "receivedSince", "order", "imei", "meid", "esn", "mdn", "name", "account"),
    *("type", "status", "flag", "state", "bbox", "transactionId", "sessionId", "signature", "service", "key"),
]
HEADERS = ["Accept", "Content-Type", "Content-Encoding", "X-Request-Id", "traceparent", "Idempotency-Key", "Cookie"]

# What may stand in a header (RFC 9110, section 5.5), beyond what should.
values = st.binary(max_size=24).map(lambda raw: bytes(byte for byte in raw if byte not in b"\0\r\n"))
escapes = st.binary(min_size=1, max_size=12).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw))
words = st.sampled_from(
    [
        "990001123456782",
        "01JNB3X7Q2V4C0M8T5Y6Z7A8B9",
        "-1",
        "1e309",
        "NaN",
        "%00",
        "%ED%A0%80",
        "%D9%A1",
        "%zz",
        "..%2F..",
    ]
)
parts = escapes | words


@pytest.mark.parametrize(
    "token", [b"\xe9", "é".encode(), b"lg_\xe9", "lg_日本".encode(), b"lg_\xff\xfe", b"\x80" * 300]
)
async def test_a_key_of_odd_characters_is_unknown(place: Place, token: bytes) -> None:
    [answered] = await answers(place, b"GET /reports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % token)

    assert (answered.status, answered.json()["code"]) == (401, "UNAUTHENTICATED")


@limits(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]), route=st.sampled_from(ROUTES))
async def test_nothing_odd_is_an_internal_error(place: Place, data: st.DataObject, method: str, route: str) -> None:
    path = route.format(*data.draw(st.tuples(parts, parts), label="path"))
    query = data.draw(st.lists(st.tuples(st.sampled_from(PARAMETERS), parts), max_size=2), label="query")
    headers = data.draw(st.lists(st.tuples(st.sampled_from(HEADERS), values), max_size=2), label="headers")
    target = f"{path}?{'&'.join(f'{name}={value}' for name, value in query)}"
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: x", b"Connection: close", b"Content-Length: 2"]
    lines += [f"Authorization: Bearer {KEY}".encode(), *(b"%b: %b" % (name.encode(), text) for name, text in headers)]

    [answered] = await answers(place, b"\r\n".join(lines) + b"\r\n\r\n{}")

    assert answered.status < 500
    assert answered.status < 400 or answered.json()["status"] == answered.status
