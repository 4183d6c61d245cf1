"""Work in the background: what outlasts its caller, and what its caller learns of it."""

import asyncio

import pytest

from app.errors import Unavailable
from app.worker import Background


async def test_sheltered_work_goes_on_when_its_caller_is_cancelled() -> None:
    background, go_on, finished = Background(patience_s=1), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        finished.set()

    async with background.running():
        caller = asyncio.create_task(background.sheltered(work()))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go_on.set()

    assert finished.is_set()


async def test_sheltered_work_returns_and_raises_to_its_caller() -> None:
    background = Background(patience_s=1)

    async def work(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 7

    assert await background.sheltered(work(None)) == 7
    with pytest.raises(Unavailable):
        await background.sheltered(work(Unavailable("away")))


async def test_the_caller_of_sheltered_work_that_is_cancelled_is_cancelled() -> None:
    background = Background(patience_s=0)

    async with background.running():
        caller = asyncio.create_task(background.sheltered(asyncio.sleep(60)))
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await caller
