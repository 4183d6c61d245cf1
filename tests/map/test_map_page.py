"""`/map` as it is served: open, with a strict policy, with assets that never change."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.api.routes.map import add_map
from app.map.page import ASSETS, BUILT, read_page
from app.plausibility import DOUBTS
from tests.support.locks import ROOT

INDEX = '<html><head><meta name="map-style" content="" /></head></html>'
SOURCES = ROOT / "app" / "map" / "web"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page as the build leaves it."""
    (tmp_path / ASSETS).mkdir()
    (tmp_path / ASSETS / "index-abc.js").write_text("1")
    (tmp_path / "index.html").write_text(INDEX)
    return tmp_path


def asking(folder: Path, style_url: str | None = None) -> httpx.AsyncClient:
    app = FastAPI()
    add_map(app, style_url, folder)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


def policy_of(response: httpx.Response) -> dict[str, str]:
    parts = (one.strip().partition(" ") for one in response.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in parts}


async def test_the_page_may_run_and_ask_nothing_but_its_own_gateway(built: Path) -> None:
    async with asking(built) as client:
        policy = policy_of(await client.get("/map"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["worker-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"


async def test_a_style_of_the_operators_choice_is_named_and_its_host_allowed(built: Path) -> None:
    async with asking(built, 'https://tiles.example.com/style.json?key="1"') as client:
        response = await client.get("/map")

    assert policy_of(response)["connect-src"] == "'self' https://tiles.example.com"
    assert 'content="https://tiles.example.com/style.json?key=&quot;1&quot;"' in response.text


async def test_assets_are_kept_for_good_and_the_page_is_asked_for_again(built: Path) -> None:
    async with asking(built) as client:
        page, asset = await client.get("/map"), await client.get(f"/{ASSETS}/index-abc.js")

    assert page.headers["cache-control"] == "no-cache"
    assert asset.status_code == 200
    assert "immutable" in asset.headers["cache-control"]


async def test_a_missing_asset_is_not_kept(built: Path) -> None:
    async with asking(built) as client:
        response = await client.get(f"/{ASSETS}/index-old.js")

    assert response.status_code == 404
    assert "immutable" not in response.headers.get("cache-control", "")


async def test_a_slash_at_the_end_leads_to_the_page_whose_links_are_relative(built: Path) -> None:
    app = FastAPI(redirect_slashes=False)
    add_map(app, None, built)
    sent = {"type": "http", "method": "GET", "path": "/map", "raw_path": b"/map/", "headers": [], "query_string": b""}
    messages = []

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    await app(sent, None, send)  # type: ignore[arg-type]

    assert messages[0]["status"] == 307
    assert (b"location", b"../map") in messages[0]["headers"]  # type: ignore[operator]


def test_the_built_page_has_a_place_for_the_style_and_no_script_of_its_own() -> None:
    if not BUILT.exists():
        pytest.skip("left out: the built page, as npm could not reach its registry; make .venv builds it")

    page = read_page("https://tiles.example.com/style.json")

    assert page is not None
    assert "https://tiles.example.com/style.json" in page.html
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page.html)


def test_the_page_and_the_gateway_doubt_the_same_flags() -> None:
    source = (SOURCES / "src" / "fleet" / "doubts.ts").read_text()

    assert set(re.findall(r'"([a-z_]+)"', source.partition("new Set([")[2].partition("]")[0])) == set(DOUBTS)


def test_the_lock_of_the_page_names_no_registry() -> None:
    lock = (SOURCES / "package-lock.json").read_text()

    assert '"resolved"' not in lock
    assert '"integrity": "sha512-' in lock


def test_nothing_of_the_page_writes_markup_from_data() -> None:
    written = "\n".join(path.read_text() for path in (SOURCES / "src").rglob("*.ts*"))

    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", written)
