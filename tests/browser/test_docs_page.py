"""The docs pages as a newcomer meets them: a real browser, in front of a gateway and a simulator on loopback."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from app.main import create_app
from app.simulator import create_simulator
from tests.support.browser import BROWSER, MISSING, PATIENCE_MS, WITHOUT_GPU, chromium, hosts_asked_by
from tests.support.gateways import KEY, settings, simulator_variables
from tests.support.servers import serving

expect.set_options(timeout=PATIENCE_MS)

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason=f"left out: the docs pages in a browser, {MISSING}",
)


@pytest.fixture
async def gateway_url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    async with serving(create_simulator()) as simulator_url:
        for name, value in simulator_variables(simulator_url).items():
            monkeypatch.setenv(name, value)
        async with serving(create_app(settings(database_url))) as url:
            yield url


@pytest.fixture
async def browser() -> AsyncIterator[BrowserContext]:
    async with chromium(*WITHOUT_GPU) as running:
        context = await running.new_context()
        context.set_default_timeout(PATIENCE_MS)
        yield context


@pytest.fixture
async def page(browser: BrowserContext) -> Page:
    return await browser.new_page()


@pytest.fixture
def hosts(browser: BrowserContext) -> set[str | None]:
    return hosts_asked_by(browser)


async def authorize(page: Page, key: str) -> None:
    await page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    await dialog.get_by_role("textbox").fill(key)
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").last.click()


async def execute(page: Page, example: str) -> tuple[str, Any]:
    """Send an example of `POST /locate`; give the status and the answer as the page shows them."""
    operation = page.locator(".opblock", has=page.get_by_text("Locate one device", exact=True))
    await operation.locator(".opblock-summary-control").click()
    await operation.locator(".examples-select-element").first.select_option(label=example)
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response").first
    await expect(answer).to_be_visible()
    status = await answer.locator(".response-col_status").inner_text()
    return status.split()[0], json.loads(await answer.locator(".highlight-code code").first.inner_text())


@pytest.mark.parametrize(("example", "source"), [("A Wi-Fi scan", "wifi"), ("IMEI and MDN", "network")])
async def test_a_newcomer_locates_a_device_from_the_docs_page(
    gateway_url: str, page: Page, example: str, source: str
) -> None:
    await page.goto(f"{gateway_url}/docs")

    await authorize(page, KEY)
    status, answer = await execute(page, example)

    assert status == "200"
    assert answer["location"]["source"] == source


async def test_a_wrong_key_is_told_as_a_problem_on_the_docs_page(gateway_url: str, page: Page) -> None:
    await page.goto(f"{gateway_url}/docs")

    await authorize(page, "another key")
    status, problem = await execute(page, "A Wi-Fi scan")

    assert status == "401"
    assert problem["code"] == "UNAUTHENTICATED"


async def test_the_docs_page_needs_nothing_from_the_internet(
    gateway_url: str, page: Page, hosts: set[str | None]
) -> None:
    await page.goto(f"{gateway_url}/docs")

    await authorize(page, KEY)
    await execute(page, "A Wi-Fi scan")

    assert hosts == {"127.0.0.1"}


async def test_redoc_shows_the_contract_without_the_internet(
    gateway_url: str, page: Page, hosts: set[str | None]
) -> None:
    await page.goto(f"{gateway_url}/redoc")

    await expect(page.get_by_role("heading", name="Locate one device")).to_be_visible()

    assert hosts == {"127.0.0.1"}
