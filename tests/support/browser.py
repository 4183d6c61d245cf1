"""A headless Chromium in front of pages that a gateway serves."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Request, async_playwright

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MISSING = "as there is no browser; get it with: apt-get install chromium"
PATIENCE_MS = 60_000
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
WITHOUT_GPU = ("--disable-gpu",)
IN_SOFTWARE = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""For pages that need WebGL, where there is no GPU."""


@asynccontextmanager
async def chromium(*switches: str) -> AsyncIterator[Browser]:
    """Run the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=[*SWITCHES, *switches])
        yield browser
        await browser.close()


def hosts_asked_by(context: BrowserContext) -> set[str | None]:
    """Collect the hosts that pages send requests to, whether they are found or not."""
    seen: set[str | None] = set()

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        is_of_the_page_itself = parts.scheme in {"data", "blob"}
        if not is_of_the_page_itself and request.failure != "csp":
            seen.add(parts.hostname)

    context.on("requestfinished", note)
    context.on("requestfailed", note)
    return seen
