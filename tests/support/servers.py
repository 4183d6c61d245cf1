"""Servers over real sockets: an application in the test's own event loop, and programs in processes of their own."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import Receive, Send

PROJECT = Path(__file__).parents[2]


class _GuestServer(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: Any, *, port: int = 0, **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on loopback, lifespan included; give its base URL. Port 0 takes a free one."""
    # Clients that keep idle connections as long as the server's own default does would now and then meet their closing.
    given = {"timeout_keep_alive": 75, "timeout_graceful_shutdown": 5, **options}
    config = uvicorn.Config(app, lifespan="on", ws="none", log_config=None, access_log=False, **given)
    server = _GuestServer(config)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        task = asyncio.create_task(server.serve([listener]))
        try:
            while not server.started:
                if task.done():
                    raise RuntimeError("The application did not start") from _failure(task)
                await asyncio.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.gather(task, return_exceptions=True)


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Tell a server that an application which needs no preparation has started, and has ended."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def _failure(task: "asyncio.Task[None]") -> BaseException | None:
    return None if task.cancelled() else task.exception()


class Program:
    """A running `python -m app …`; `kill` is the hard way, leaving the block ends it in any case."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """Read what it wrote so far, errors included."""
        return self._output.read_text(errors="replace")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 30) -> int:
        """Ask it to end, and return its exit code; kill it when it does not listen."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    async def answers(self, url: str, *, status: int = 200, timeout_s: float = 60) -> None:
        """Wait until a GET of the URL is answered with the status.

        Raises:
            RuntimeError: The program ended, or time is up; the message has its output.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with httpx.AsyncClient(trust_env=False) as client:
            while asyncio.get_running_loop().time() < until and self.process.poll() is None:
                try:
                    if (await client.get(url)).status_code == status:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"{url} did not answer {status}:\n{self.output()}")


@contextmanager
def running(
    arguments: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Program]:
    """Run `python <arguments>` (say `-m app serve`) in a process of its own, and end it, by its pid, at the end.

    It inherits the test's environment, plus `environment`, and works in `folder`, by default the test's own. A gateway
    does not drain when it ends, unless `environment` says so.
    """
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 -- the arguments are our own
                [sys.executable, *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "PYTHONUNBUFFERED": "1",
                    "GATEWAY_DRAIN_SECONDS": "0",
                    **(environment or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        program = Program(process, output)
        try:
            yield program
        finally:
            if process.poll() is None:
                program.terminate()
