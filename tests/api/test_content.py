"""Bodies that are compressed, or not in UTF-8: read within the limits, or refused with what would be accepted."""

import gzip
import json
import zlib
from typing import Any

import httpx
import pytest

from app.main import create_app
from tests.support.gateways import asking, settings
from tests.support.vendors import DEVICE, Vendors

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What callbacks make of the same is in `tests/server/test_encoded_callbacks.py`.
QUESTION = {"device": DEVICE | {"name": "Pumpe Süd"}}
TEXT = json.dumps(QUESTION, ensure_ascii=False)


def bare_deflate(body: bytes) -> bytes:
    compressing = zlib.compressobj(wbits=-15)
    return compressing.compress(body) + compressing.flush()


async def ask(gateway: httpx.AsyncClient, content: bytes, *, charset: str = "", coding: str = "") -> httpx.Response:
    headers = {"content-type": "application/json" + (f"; charset={charset}" if charset else "")}
    if coding:
        headers["content-encoding"] = coding
    return await gateway.post("/locate", content=content, headers=headers)


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        pytest.param("gzip", gzip.compress(TEXT.encode()), id="gzip"),
        pytest.param("X-GZIP", gzip.compress(TEXT.encode()), id="gzip by its old name"),
        pytest.param("deflate", zlib.compress(TEXT.encode()), id="deflate"),
        pytest.param("deflate", zlib.compress(TEXT.encode(), wbits=9), id="deflate with a small window"),
        pytest.param("deflate", bare_deflate(TEXT.encode()), id="deflate without its header"),
        pytest.param("identity", TEXT.encode(), id="identity"),
        pytest.param("identity, gzip", gzip.compress(TEXT.encode()), id="identity and gzip"),
        pytest.param("gzip", gzip.compress(TEXT.encode("utf-8-sig")), id="gzip of a mark and a text"),
    ],
)
async def test_a_content_coding_is_undone(gateway: httpx.AsyncClient, coding: str, content: bytes) -> None:
    response = await ask(gateway, content, coding=coding)

    assert response.status_code == 200
    assert response.json()["device"]["name"] == QUESTION["device"]["name"]


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "nonsense", "gzip, gzip", "gzip, br"])
async def test_an_unknown_coding_is_refused_with_those_that_are_known(gateway: httpx.AsyncClient, coding: str) -> None:
    response = await ask(gateway, TEXT.encode(), coding=coding)

    assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.headers["accept-encoding"] == "gzip, deflate"
    assert "accept" not in response.headers


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        pytest.param("gzip", TEXT.encode(), id="not compressed at all"),
        pytest.param("gzip", gzip.compress(TEXT.encode())[:-9], id="cut off"),
        pytest.param("gzip", gzip.compress(TEXT.encode()) + b"more", id="something behind it"),
        pytest.param("gzip", b"", id="nothing"),
        pytest.param("deflate", gzip.compress(TEXT.encode()), id="gzip that says deflate"),
    ],
)
async def test_a_body_that_is_not_coded_as_it_says_is_malformed(
    gateway: httpx.AsyncClient, coding: str, content: bytes
) -> None:
    response = await ask(gateway, content, coding=coding)

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, bare_deflate])
async def test_a_body_is_bounded_without_its_coding(database_url: str, vendors: Vendors, compress: Any) -> None:
    coding = "gzip" if compress is gzip.compress else "deflate"
    bomb = compress(b" " * 100_000_000)
    fits = compress(TEXT.encode().ljust(200_000))
    async with asking(create_app(settings(database_url, max_body_bytes=200_000), vendors.transport())) as gateway:
        refused = await ask(gateway, bomb, coding=coding)
        answered = await ask(gateway, fits, coding=coding)

    assert len(bomb) < 200_000
    assert (refused.status_code, refused.json()["code"]) == (413, "BODY_TOO_LARGE")
    assert answered.status_code == 200


@pytest.mark.parametrize(
    ("encoding", "charset"),
    [
        ("utf-8", ""),
        ("utf-8", "UTF-8"),
        ("utf-8", '"utf-8"'),
        ("utf-8", "iso-8859-1"),  # many libraries say so by default, and JSON is UTF-8 all the same
        ("utf-8", "nonsense"),
        ("utf-8-sig", ""),
        ("utf-8-sig", "utf-8"),
        ("utf-16", ""),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16le"),
        ("utf-16-be", ""),
        ("utf-32", "utf-32"),
        ("utf-32-le", ""),
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
    ],
)
async def test_every_spelling_of_characters_is_read(gateway: httpx.AsyncClient, encoding: str, charset: str) -> None:
    response = await ask(gateway, TEXT.encode(encoding), charset=charset)

    assert response.status_code == 200
    assert response.json()["device"]["name"] == QUESTION["device"]["name"]


async def test_characters_that_are_in_no_known_charset_are_refused(gateway: httpx.AsyncClient) -> None:
    response = await ask(gateway, TEXT.encode("latin-1"), charset="klingon")

    assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.headers["accept"] == "application/json"


@pytest.mark.parametrize("charset", ["", "utf-8", "us-ascii"])
async def test_bytes_that_are_no_characters_are_malformed(gateway: httpx.AsyncClient, charset: str) -> None:
    response = await ask(gateway, TEXT.encode("latin-1"), charset=charset)

    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_JSON")


async def test_another_media_type_is_refused_with_the_one_that_is_read(gateway: httpx.AsyncClient) -> None:
    response = await gateway.post("/locate", content=TEXT.encode(), headers={"content-type": "text/plain"})

    assert (response.status_code, response.headers["accept"]) == (415, "application/json")
