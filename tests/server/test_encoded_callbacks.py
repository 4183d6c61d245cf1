"""Callbacks that are compressed or not in UTF-8, on both paths: stored as what they say, fit to be replayed."""

import gzip
import hmac
import json
import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.main import create_app
from app.server.fast_callbacks import CallbackProtocol
from tests.support.gateways import settings
from tests.support.raw_http import Place, answers, count_rows, place_of, request
from tests.support.servers import serving
from tests.support.vendors import CALLBACK_PATH, Vendors, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = message(note="Gerät")
TEXT = json.dumps(SAID, ensure_ascii=False)
UTF16 = "Content-Type: application/json; charset=utf-16"

both_paths = pytest.mark.parametrize("path", [CALLBACK_PATH, f"{CALLBACK_PATH}?"], ids=["fast path", "full path"])


async def stored_bodies(app: FastAPI) -> list[Any]:
    async with app.state.storage.database.transaction() as session:
        return [json.loads(body) for body in await session.scalars(text("SELECT body FROM callbacks"))]


@both_paths
@pytest.mark.parametrize(
    ("body", "lines"),
    [
        pytest.param(gzip.compress(TEXT.encode()), ["Content-Encoding: gzip"], id="gzip"),
        pytest.param(gzip.compress(TEXT.encode()), [], id="gzip that does not say so"),
        pytest.param(gzip.compress(TEXT.encode("utf-16")), ["Content-Encoding: gzip", UTF16], id="gzip of UTF-16"),
        pytest.param(zlib.compress(TEXT.encode()), ["Content-Encoding: deflate"], id="deflate"),
        pytest.param(TEXT.encode(), ["Content-Encoding: identity"], id="identity"),
        pytest.param(TEXT.encode(), ["Content-Encoding: gzip"], id="not compressed, whatever it says"),
        pytest.param(TEXT.encode("utf-8-sig"), [], id="UTF-8 with a mark"),
        pytest.param(TEXT.encode("utf-16"), [], id="UTF-16"),
        pytest.param(TEXT.encode("utf-16-be"), [UTF16], id="UTF-16 without a mark"),
        pytest.param(TEXT.encode(), [UTF16], id="UTF-8 that says UTF-16"),
        pytest.param(TEXT.encode("latin-1"), ["Content-Type: text/plain; charset=ISO-8859-1"], id="Latin-1"),
        pytest.param(TEXT.encode("latin-1"), [], id="Latin-1 that does not say so"),
        pytest.param(TEXT.encode("latin-1"), ["Content-Type: a/b; charset=klingon"], id="Latin-1 by another name"),
    ],
)
async def test_it_is_stored_as_what_it_says(
    gateway_app: FastAPI, place: Place, body: bytes, lines: list[str], path: str
) -> None:
    [answered] = await answers(place, request(body, *lines, path=path))

    assert (answered.status, answered.body) == (200, b"")
    assert await count_rows(gateway_app, "reports", "status = 'located'") == 1
    assert [one["note"] for one in await stored_bodies(gateway_app)] == ["Gerät"]


@both_paths
@pytest.mark.parametrize(("compress", "coding"), [(gzip.compress, "gzip"), (zlib.compress, "deflate")])
async def test_a_transfer_coding_is_undone_as_well(
    gateway_app: FastAPI, place: Place, compress: Callable[[bytes], bytes], coding: str, path: str
) -> None:
    body = compress(TEXT.encode())
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}, chunked\r\n\r\n".encode()

    [answered] = await answers(place, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    assert answered.status == 200
    assert [one["note"] for one in await stored_bodies(gateway_app)] == ["Gerät"]


@both_paths
@pytest.mark.parametrize("coding", ["br", "zstd", "nonsense", "gzip, gzip"])
async def test_a_coding_that_is_not_undone_is_refused_with_those_that_are(
    gateway_app: FastAPI, place: Place, coding: str, path: str
) -> None:
    sent = request(b"\x8b\x02\x80", f"Content-Encoding: {coding}", path=path)

    [answered] = await answers(place, sent)

    assert (answered.status, answered.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answered.headers["accept-encoding"] == "gzip, deflate"
    assert await count_rows(gateway_app, "callbacks") == 0


@both_paths
async def test_the_limit_holds_without_the_coding(gateway_app: FastAPI, place: Place, path: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)

    [answered] = await answers(place, request(bomb, "Content-Encoding: gzip", path=path))

    assert (answered.status, answered.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert await count_rows(gateway_app, "callbacks") == 0


@both_paths
@pytest.mark.parametrize("body", [gzip.compress(TEXT.encode())[:-9], b"\xff\xfe\x00\xd8"], ids=["cut off", "no text"])
async def test_what_cannot_be_read_is_kept_byte_for_byte(
    gateway_app: FastAPI, place: Place, body: bytes, path: str
) -> None:
    [answered] = await answers(place, request(body, "Content-Encoding: gzip", path=path))

    assert answered.status == 400
    async with gateway_app.state.storage.database.transaction() as session:
        assert list(await session.scalars(text("SELECT body FROM callbacks WHERE state = 'quarantined'"))) == [body]


@both_paths
async def test_credentials_are_blotted_out_under_a_coding(gateway_app: FastAPI, place: Place, path: str) -> None:
    body = gzip.compress(json.dumps(message(password="hunter2")).encode("utf-16"))

    await answers(place, request(body, "Content-Encoding: gzip", path=path))

    assert [one["password"] for one in await stored_bodies(gateway_app)] == ["***"]


@both_paths
async def test_a_signature_is_over_the_bytes_as_they_came(
    database_url: str, vendors: Vendors, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE", "enforce")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SIGNATURE_HEADER", "X-Signature")
    monkeypatch.setenv("THINGSPACE_CALLBACK_SECRET", "shared")
    body = gzip.compress(TEXT.encode())
    app = create_app(settings(database_url), vendors.transport())

    async with serving(app, http=CallbackProtocol, proxy_headers=False) as url:
        found = [
            (
                await answers(
                    place_of(url), request(body, "Content-Encoding: gzip", f"X-Signature: {digest}", path=path)
                )
            )[0]
            for digest in (hmac.digest(b"shared", signed, sha256).hex() for signed in (body, TEXT.encode()))
        ]
        verdicts = await count_rows(app, "callbacks", "signature = 'valid'")

    assert [one.status for one in found] == [200, 401]
    assert verdicts == 1


@pytest.mark.parametrize("body", [gzip.compress(TEXT.encode()), TEXT.encode("utf-16"), TEXT.encode("latin-1")])
async def test_what_an_older_version_kept_in_quarantine_is_read_by_a_replay(
    gateway: httpx.AsyncClient, gateway_app: FastAPI, place: Place, body: bytes
) -> None:
    await answers(place, request(b"not yet"))
    async with gateway_app.state.storage.database.transaction() as session:
        await session.execute(text("UPDATE callbacks SET body = :body"), {"body": body})

    replayed = (await gateway.post("/callbacks/replay")).json()

    assert replayed == {"stored": 1, "quarantined": 0}
    assert await count_rows(gateway_app, "reports", "status = 'located'") == 1
