"""Background work of every process: what recurs, who runs it, and what happens when it fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from app.errors import GatewayError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is done again and again.

    Attributes:
        name: As it stands in the log.
        every_s: Seconds between the end of one run and the start of the next.
        run: Does it once; it has to bear running in several processes at the same time.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]


@asynccontextmanager
async def running(jobs: Sequence[Job]) -> AsyncIterator[None]:
    """Run the jobs in the background while the block lasts."""
    tasks = [asyncio.create_task(_repeat(job), name=job.name) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _repeat(job: Job) -> None:
    while True:
        await asyncio.sleep(job.every_s)
        try:
            await job.run()
        except GatewayError as error:
            log.warning("background job failed", job=job.name, code=error.code)
        except Exception as error:  # noqa: BLE001 -- one failed run must not end the job for good
            log.error("background job failed", job=job.name, error=type(error).__name__)
