"""Slashes too many, as clients and proxies add them when they join addresses."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI

from app.api.middleware import canonical_path
from tests.support.gateways import KEY
from tests.support.raw_http import Place, answers, chunked_request, count_rows, request
from tests.support.vendors import CALLBACK_PATH, DEVICE, TOKEN, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHORIZED = f"Authorization: Bearer {KEY}"
BEHIND_A_PROXY = ("X-Forwarded-Proto: https", "X-Forwarded-Host: gw.example.com")


@pytest.mark.parametrize(
    "path",
    [
        f"{CALLBACK_PATH}/",
        f"{CALLBACK_PATH}//",
        f"{CALLBACK_PATH}/?from=us",
        f"{CALLBACK_PATH}%2F",
        f"/{CALLBACK_PATH}",
        f"//{CALLBACK_PATH}/",
        f"/callbacks//thingspace//{TOKEN}",
        f"/callbacks/thingspace/%{ord(TOKEN[0]):x}{TOKEN[1:]}/",
        f"http://gw.example.com{CALLBACK_PATH}/",
    ],
)
@pytest.mark.parametrize("write", [request, chunked_request], ids=["with a length", "in chunks"])
async def test_a_callback_is_stored(gateway_app: FastAPI, place: Place, path: str, write: Callable[..., bytes]) -> None:
    [answered] = await answers(place, write(message(), *BEHIND_A_PROXY, path=path))

    assert (answered.status, answered.body) == (200, b"")
    assert await count_rows(gateway_app, "reports") == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/docs-assets/favicon.png"),
        ("GET", "/docs-assets"),
        ("GET", "/reports"),
        ("POST", "/locate"),
        ("GET", "/locate"),
        ("POST", "/locate/batch"),
        ("GET", "/callbacks"),
        ("GET", "/nothing"),
        ("POST", "/callbacks/thingspace/not-a-token"),
    ],
)
@pytest.mark.parametrize("key", [(), (AUTHORIZED,)], ids=["without a key", "with a key"])
async def test_a_route_answers_as_without_the_slash(place: Place, method: str, path: str, key: tuple[str, ...]) -> None:
    def write(sent: str) -> bytes:
        body = {"device": DEVICE} if method == "POST" else b""
        return request(body, *key, *BEHIND_A_PROXY, "Connection: close", method=method, path=sent)

    [plain], [slashed], [doubled] = [await answers(place, write(sent)) for sent in (path, f"{path}/", f"/{path}")]

    assert plain.status == slashed.status == doubled.status
    assert plain.headers.get("allow") == slashed.headers.get("allow") == doubled.headers.get("allow")
    assert "location" not in plain.headers | slashed.headers | doubled.headers


async def test_an_identifier_that_was_left_empty_does_not_stand_for_all(place: Place) -> None:
    [answered] = await answers(place, request(b"", AUTHORIZED, path="/callbacks//replay"))

    assert answered.status == 404


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("//", "/"),
        ("", ""),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("//a//b//", "/a//b"),
    ],
)
async def test_a_path_has_one_spelling(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical
