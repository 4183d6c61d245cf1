"""The map with 10,000 devices that move all the time: how long a frame takes in a headless Chromium without a GPU."""

import asyncio
import os
import shutil
import statistics
from dataclasses import dataclass

import psutil
from playwright.async_api import Page, ViewportSize, async_playwright

from benchmarks.figures import Goal
from benchmarks.fleet_stand_in import DEVICES, INTERVAL_S
from benchmarks.plan import Plan
from benchmarks.servers import application

_SOFTWARE_RENDERING = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_VIEWPORT: ViewportSize = {"width": 1280, "height": 800}
_GOAL = Goal("median frame, ms", floor=50, goal=33, less=True)
_MEASURE = """
    (seconds) => new Promise((resolve) => {
      const frames = [];
      const begin = performance.now();
      let before = begin;
      const note = (now) => {
        frames.push(now - before);
        before = now;
        if (now - begin < seconds * 1000) requestAnimationFrame(note);
        else resolve(frames.slice(1));
      };
      requestAnimationFrame(note);
    })
"""
_DRAWN_AFTER_S = 10


def run(plan: Plan) -> None:
    """Measure, or say that there is no browser."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("map: left out, as there is no Chromium; get it with: apt-get install chromium")
        return
    rounds = asyncio.run(_measure(browser, plan))
    medians = [statistics.median(one.frames_ms) for one in rounds]
    slowest = [statistics.quantiles(one.frames_ms, n=20)[-1] for one in rounds]
    work = [one.cpu_ms / len(one.frames_ms) for one in rounds]
    print(f"\nThe map, {DEVICES:,} devices that report every {INTERVAL_S:g} s, software rendering, {_VIEWPORT}")
    print(
        f"median frames of {plan.rounds} rounds {_listed(medians)} ms, the slowest twentieth from {_listed(slowest)} ms"
    )
    print(f"processor time of a frame, which a busy machine does not stretch as much: {_listed(work)} ms")
    _GOAL.judge(statistics.median(medians))


@dataclass(frozen=True, slots=True)
class _Round:
    frames_ms: list[float]
    cpu_ms: float


async def _measure(browser: str, plan: Plan) -> list[_Round]:
    with application("benchmarks.fleet_stand_in:app", measured=False) as url:
        async with async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=browser, args=_SOFTWARE_RENDERING)
            page = await chromium.new_page(viewport=_VIEWPORT)
            await _open(page, url)
            rounds = [await _look(page, plan.seconds) for _ in range(plan.rounds)]
            await chromium.close()
    return rounds


async def _look(page: Page, seconds: int) -> _Round:
    before = _cpu_ms()
    frames = await page.evaluate(_MEASURE, seconds)
    return _Round(frames, _cpu_ms() - before)


def _cpu_ms() -> float:
    """Sum up the processor time of the browser's own processes, drawing in software included."""
    times = [one.cpu_times() for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]
    return 1000 * float(sum(one.user + one.system for one in times))


async def _open(page: Page, url: str) -> None:
    """Open the map, and wait until all devices are on it and the outline is drawn."""
    await page.goto(f"{url}/map")
    await page.get_by_text(f"{DEVICES:,} devices").wait_for(timeout=60_000)
    await page.get_by_text("Live", exact=True).wait_for()
    await asyncio.sleep(_DRAWN_AFTER_S)


def _listed(figures: list[float]) -> str:
    return ", ".join(f"{figure:.1f}" for figure in figures)
