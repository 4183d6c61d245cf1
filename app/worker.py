"""Background work of every process: what recurs, what outlives its caller, and what happens when it fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from app.errors import GatewayError

T = TypeVar("T")

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


class Background:
    """Owns work that goes on when its caller has gone away; `running` waits for it at the end."""

    def __init__(self, *, patience_s: float) -> None:
        """Make an owner that waits `patience_s` seconds for the last tasks when it ends."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._patience_s = patience_s

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start work that is not cancelled with its caller."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def sheltered(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on if the caller is cancelled; as `asyncio.shield`, for two thirds of its cost."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        done = task.get_loop().create_future()

        def ended(task: "asyncio.Task[T]") -> None:
            self._ended(task)
            if not done.done():
                done.set_result(None)

        task.add_done_callback(ended)
        await done
        return task.result()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        # It is raised in the waiting caller, if one is left.
        if error is not None and not isinstance(error, GatewayError):
            log.error("work failed in the background", error=type(error).__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let tasks run while the block lasts, and a little longer."""
        try:
            yield
        finally:
            loop = asyncio.get_running_loop()
            until = loop.time() + self._patience_s
            # The last tasks may begin others.
            while self._tasks and (left_s := until - loop.time()) > 0:
                await asyncio.wait(self._tasks, timeout=left_s)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
