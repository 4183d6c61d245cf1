"""`location-gateway callbacks replay`: page by page, and it can be gone on with."""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner, Result

from app.cli import app
from tests.support.gateways import in_background
from tests.support.servers import serving

PAGES = {None: "second", "second": "third", "third": None}


class Stand:
    """A gateway with three pages of callbacks, one of which may fail."""

    def __init__(self) -> None:
        self.failing: str | None = None
        self.asked: list[dict[str, str]] = []

    async def answer(self, request: Request) -> Response:
        query = dict(request.query_params)
        self.asked.append(query)
        cursor = query.get("cursor")
        if cursor is not None and cursor == self.failing:
            return JSONResponse({"code": "UNAVAILABLE", "status": 503, "detail": "No database."}, 503)
        page = {"stored": 400, "quarantined": 100, "next": PAGES[cursor]}
        return JSONResponse(page if cursor else page | {"total": 1500})


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
def url(stand: Stand) -> Iterator[str]:
    def serve() -> AbstractAsyncContextManager[str]:
        return serving(Starlette(routes=[Route("/callbacks/replay", stand.answer, methods=["POST"])]))

    with in_background(serve) as url:
        yield url


def replay(*options: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["callbacks", "replay", *options])


def test_pages_are_added_up_and_their_progress_is_told(stand: Stand, url: str) -> None:
    done = replay("--url", url, "--account", "a")

    assert done.exit_code == 0
    assert "1200 stored, 300 still in quarantine." in done.stdout
    assert "Replaying: 1,500 of 1,500 callbacks (100 %)" in done.stderr
    assert [query.get("cursor") for query in stand.asked] == [None, "second", "third"]
    assert {query["account"] for query in stand.asked} == {"a"}


def test_a_failure_on_the_way_says_how_to_go_on(stand: Stand, url: str) -> None:
    stand.failing = "third"

    done = replay("--url", url)

    assert done.exit_code == 1
    assert "No database." in done.stderr
    assert "location-gateway callbacks replay --cursor third" in done.stderr


def test_it_goes_on_where_it_was(stand: Stand, url: str) -> None:
    done: dict[str, Any] = json.loads(replay("--url", url, "--cursor", "third", "--json").stdout)

    assert done == {"stored": 400, "quarantined": 100}
    assert [query.get("cursor") for query in stand.asked] == ["third"]
