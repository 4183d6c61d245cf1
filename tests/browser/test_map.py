"""The map as people use it: a real browser, in front of a gateway and a simulator on loopback."""

import re
from collections.abc import AsyncIterator
from typing import Literal

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, expect

from app.main import create_app
from app.map.page import BUILT
from app.simulator import create_simulator
from tests.support.browser import BROWSER, IN_SOFTWARE, MISSING, PATIENCE_MS, chromium, hosts_asked_by
from tests.support.gateways import AUTHORIZED, KEY, any_port, settings, simulator_variables
from tests.support.servers import serving
from tests.support.vendors import WIFI

DEVICES = 25
FLEET = re.compile(r"^2[56] devices$")
"""One test adds a device, and tests run in any order."""
LIVE = "Live"

expect.set_options(timeout=PATIENCE_MS)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(BROWSER is None, reason=f"left out: the map in a browser, {MISSING}"),
    pytest.mark.skipif(not BUILT.exists(), reason="left out: the map, as npm could not reach its registry"),
]


class Stage:
    """A gateway that can be stopped and started again at the same address, with a fleet that was located."""

    def __init__(self, database_url: str) -> None:
        self.port = any_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._database_url = database_url
        self._serving = self._new()

    async def start(self) -> None:
        self._serving = self._new()
        await self._serving.__aenter__()

    async def stop(self) -> None:
        await self._serving.__aexit__(None, None, None)

    async def post(self, path: str, body: object) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, headers=AUTHORIZED, timeout=60, trust_env=False) as client:
            response = await client.post(path, json=body)
            response.raise_for_status()
            return response

    async def revoke(self, key_id: str) -> None:
        async with httpx.AsyncClient(base_url=self.url, headers=AUTHORIZED, trust_env=False) as client:
            (await client.delete(f"/keys/{key_id}")).raise_for_status()

    def _new(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 -- what `serving` gives
        return serving(create_app(settings(self._database_url)), port=self.port, timeout_graceful_shutdown=1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(module_database_url: str) -> AsyncIterator[Stage]:
    async with serving(create_simulator()) as simulator_url:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in simulator_variables(simulator_url).items():
                patch.setenv(name, value)
            stage = Stage(module_database_url)
            await stage.start()
            async with httpx.AsyncClient(trust_env=False) as client:
                listed = (await client.get(f"{simulator_url}/control/devices?limit={2 * DEVICES}")).json()["devices"]
            account = listed[0]["account"]
            fleet = [one for one in listed if one["account"] == account][:DEVICES]
            located = await stage.post(
                "/locate/batch",
                {
                    "requests": [
                        {"id": one["imei"], "device": {"imei": one["imei"], "mdn": one["mdn"]}} for one in fleet
                    ]
                },
            )
            assert located.json()["summary"]["located"] == DEVICES
            yield stage
            await stage.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_browser() -> AsyncIterator[Browser]:
    async with chromium(*IN_SOFTWARE) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def context(running_browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await running_browser.new_context(viewport={"width": 1100, "height": 760}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(context: BrowserContext) -> Page:
    """A page that cannot draw the map, as drawing takes the time of all others where there is no GPU."""
    page = await context.new_page()
    await page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    return page


async def enter(page: Page, key: str = KEY) -> None:
    await page.get_by_label("API key", exact=True).fill(key)
    await page.keyboard.press("Enter")


async def open_map(page: Page, stage: Stage, *, at: str = "", key: str = KEY) -> None:
    await page.goto(f"{stage.url}/map{at}")
    await enter(page, key)
    await expect(page.get_by_role("status").first).to_have_text(LIVE)


async def test_a_newcomer_sees_the_fleet_after_entering_a_key_and_nothing_else_is_asked(
    stage: Stage, context: BrowserContext
) -> None:
    page = await context.new_page()
    hosts, violations = hosts_asked_by(context), []
    page.on("console", lambda one: violations.append(one.text) if "Content Security" in one.text else None)

    await page.goto(stage.url)
    await expect(page.get_by_role("dialog")).to_be_visible()
    await enter(page)

    await expect(page.get_by_role("heading", name=FLEET)).to_be_visible()
    await expect(page.get_by_role("link", name="API docs")).to_have_attribute("href", "docs")
    await expect(page.get_by_role("region", name="Map")).to_be_visible()
    assert page.url == f"{stage.url}/map"
    assert await page.evaluate("Object.values(sessionStorage)") == [KEY]
    assert await page.evaluate("Object.values(localStorage)") == []
    assert (hosts, violations) == ({"127.0.0.1"}, [])


async def test_a_wrong_key_is_asked_for_again_with_the_reason(stage: Stage, page: Page) -> None:
    await page.goto(f"{stage.url}/map")
    await enter(page, "another key")

    await expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    await enter(page)
    await expect(page.get_by_text(FLEET)).to_be_visible()


async def test_a_device_is_found_and_looked_at_by_keyboard_and_its_link_can_be_shared(stage: Stage, page: Page) -> None:
    await open_map(page, stage)

    await page.get_by_role("searchbox").focus()
    await page.keyboard.type("99000112345680")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="990001123456808")).to_be_visible()
    await expect(page.get_by_role("cell", name="Network").first).to_be_visible()
    assert page.url.endswith("#device=990001123456808")


async def test_without_webgl_the_list_shows_the_fleet(stage: Stage, page: Page) -> None:
    await open_map(page, stage)

    await expect(page.get_by_text("has no WebGL 2")).to_be_visible()
    await expect(page.get_by_text(FLEET)).to_be_visible()


async def test_a_shared_link_opens_its_device(stage: Stage, page: Page) -> None:
    await open_map(page, stage, at="#device=990001123456782")

    await expect(page.get_by_role("heading", name="990001123456782")).to_be_visible()


async def test_a_located_position_is_shown_with_its_attempts(stage: Stage, page: Page) -> None:
    await open_map(page, stage, at="#locate=")

    await page.get_by_text("Measurements", exact=True).click()
    await page.get_by_role("button", name="Fill in an example").click()
    await page.get_by_role("button", name="Locate", exact=True).click()

    await expect(page.get_by_role("listitem").filter(has_text="cloudlocate")).to_contain_text("located")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_barrier_of_weight_is_found(stage: Stage, page: Page, scheme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme=scheme)
    await open_map(page, stage)
    await page.get_by_text("Legend").click()
    barriers = []

    for view in ("#", "#device=990001123456782", "#sessions", "#locate="):
        await page.evaluate("(view) => { location.hash = view }", view)
        await expect(page.get_by_role("heading", level=2)).to_be_visible()
        found = (await Axe().run(page)).response["violations"]
        barriers += [(view, one["id"]) for one in found if one["impact"] in {"serious", "critical"}]

    assert barriers == []


async def test_a_device_that_is_located_while_the_page_is_open_comes_on_it_by_itself(stage: Stage, page: Page) -> None:
    await open_map(page, stage)

    await stage.post("/locate", {"device": {"name": "pump-0417"}, "measurements": WIFI})

    await expect(page.get_by_role("link", name="pump-0417")).to_contain_text("Wi-Fi")


async def test_a_revoked_key_is_told_and_another_one_goes_on(stage: Stage, page: Page) -> None:
    made = (await stage.post("/keys", {"name": "a viewer's", "scopes": ["reports:read"]})).json()
    await open_map(page, stage, key=made["key"])

    await stage.revoke(made["id"])

    await expect(page.get_by_role("alert")).to_contain_text("revoked")
    await expect(page.get_by_text(FLEET)).to_have_count(0)
    await enter(page)
    await expect(page.get_by_text(FLEET)).to_be_visible()


async def test_a_stopped_gateway_is_told_and_the_page_goes_on_when_it_is_back(stage: Stage, page: Page) -> None:
    await open_map(page, stage)

    await stage.stop()
    await expect(page.get_by_role("status").first).to_contain_text("Cut off since")
    await stage.start()

    await expect(page.get_by_role("status").first).to_have_text(LIVE)
    await expect(page.get_by_text(FLEET)).to_be_visible()
