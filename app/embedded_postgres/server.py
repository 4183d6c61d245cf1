"""The life of the embedded server: started or joined, watched over, left or stopped."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import structlog

from app.embedded_postgres.account import Account, EmbeddedPostgresFailed, account_for
from app.embedded_postgres.addresses import free_port, remove_socket_folder, socket_folder
from app.embedded_postgres.cluster import Cluster, RunningServer
from app.embedded_postgres.locks import FileLock
from app.embedded_postgres.process import Launch, TryAgain, end_with_us, is_alive, trim, wait_for_end
from app.embedded_postgres.programs import Programs, find_programs

_WATCH_S = 0.2
_RETRY_S = 0.1
_QUIET_S = 3.0
_IN_USE_S = 30.0
"""How long to wait for a server that another process starts and that does not accept connections yet."""
_STOP_S = 60.0

_log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """The Postgres server of one data directory, shared by all processes that use it.

    `start` and `stop` block, for half a second or so, and must not be called where an event loop runs;
    `async with` does both from there.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        die_with_parent: bool = False,
        timeout_s: float = 120.0,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe the server; nothing happens before `start`.

        Args:
            data_dir: Where its files are or will be; made where it is missing.
            bin_dir: A folder with Postgres programs to use instead of the packaged ones.
            fsync: False is faster, and loses the data when the machine goes down, not when a process does; for tests.
            settings: More settings of Postgres.
            die_with_parent: Shut the server down when the process that started it is gone, even if it was killed.
            timeout_s: How long the start may take; a crash recovery counts.
            on_step: Told in a few words what is being done, from whichever thread does it.
        """
        self.data_dir = data_dir.absolute()
        self._log_file = self.data_dir / "postgres.log"
        self._cluster = Cluster(self.data_dir / "postgres")
        self._bin_dir = bin_dir.absolute() if bin_dir else None
        self._fsync = fsync
        switch = "on" if fsync else "off"
        self._settings = {"fsync": switch, "full_page_writes": switch, **(settings or {})}
        self._die_with_parent = die_with_parent
        self._timeout_s = timeout_s
        self._on_step = on_step
        self._programs: Programs | None = None
        self._running: RunningServer | None = None
        self._membership: FileLock | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is to be reached over TCP, password included; the same after restarts by `supervise`."""
        return self._cluster.url(self._joined)

    @property
    def socket_url(self) -> str:
        """Where it is to be reached over its Unix socket, password included; may change with a restart."""
        return self._cluster.socket_url(self._joined)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._joined.pid

    @property
    def _joined(self) -> RunningServer:
        if self._running is None:
            raise RuntimeError("The embedded Postgres has not been started")
        return self._running

    def start(self) -> str:
        """Join the server of the data directory, starting it, and making its cluster, where there is none.

        Returns:
            Its URL, with the password.

        Raises:
            EmbeddedPostgresFailed: It cannot be started; the detail states why and what to do.
        """
        if self._membership:
            return self.url
        try:
            with self._alone() as account:
                membership = FileLock(self._lock_path("users"), account).wait(self._timeout_s, shared=True)
                try:
                    self._running = self._found_or_started(account)
                except BaseException:
                    membership.close()
                    raise
                self._membership = membership
        except OSError as error:
            raise EmbeddedPostgresFailed(
                f"The data directory {self.data_dir} cannot be used: {error.strerror or error}; make it a folder that "
                "this user may write to, name another with GATEWAY_DATA_DIR, or set GATEWAY_DATABASE_URL."
            ) from error
        return self.url

    def stop(self) -> None:
        """Leave the server, and shut it down if no other process uses it."""
        if self._membership is None:
            return
        self._call_guard_off()
        with self._alone() as account, self._membership as membership:
            self._membership = None
            if membership.try_exclusive():
                self._shut_down(account)
        self._running = None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Start the server anew, on the same port, whenever it died while the block runs."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def _watch(self) -> NoReturn:
        while True:
            await asyncio.sleep(_WATCH_S)
            trim(self._log_file)
            if is_alive(self._joined.pid):
                continue
            _log.warning("embedded_postgres_died")
            try:
                await _in_thread(self._restart)
                _log.info("embedded_postgres_restarted")
            except (EmbeddedPostgresFailed, OSError) as error:
                _log.error("embedded_postgres_not_restarted", reason=str(error))

    async def __aenter__(self) -> Self:
        try:
            await _in_thread(self.start)
        except asyncio.CancelledError:
            await _in_thread(self.stop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await _in_thread(self.stop)

    def _lock_path(self, name: str) -> Path:
        return self.data_dir / f"postgres.{name}.lock"

    @contextmanager
    def _alone(self) -> Iterator[Account]:
        """Keep other processes from starting or stopping the server meanwhile."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = account_for(self._cluster.path, self.data_dir)
        with FileLock(self._lock_path("start"), account).wait(self._timeout_s):
            yield account

    def _restart(self) -> None:
        with self._alone() as account:
            self._call_guard_off()
            self._running = self._found_or_started(account, port=self._joined.port)

    def _found_or_started(self, account: Account, port: int | None = None) -> RunningServer:
        began = time.monotonic()
        tells = iter([True])
        while True:
            with FileLock(self._lock_path("server"), account) as life:
                found = self._cluster.running()
                is_free = life.try_exclusive() and not (found and self._is_ours(found))
                if is_free:
                    self._cluster.forget_server()
                    started = self._try_to_start(account, port, life)
                    if started:
                        return started
                elif found and found.is_ready and self._is_ours(found) and asyncio.run(self._cluster.lets_in(found)):
                    return found
            waited_s = time.monotonic() - began
            if waited_s > (self._timeout_s if is_free else min(_IN_USE_S, self._timeout_s)):
                raise EmbeddedPostgresFailed(
                    f"{self._cluster.path} is in use by a server that cannot be reached, or its port is taken; stop "
                    f"it, name another data directory with GATEWAY_DATA_DIR, or see {self._log_file}."
                )
            if waited_s > _QUIET_S and next(tells, False):
                self._on_step(f"waiting for the server that uses {self._cluster.path}")
            time.sleep(_RETRY_S)

    def _shut_down(self, account: Account) -> None:
        running = self._cluster.running()
        with FileLock(self._lock_path("server"), account) as life:
            # A server that does not hold this lock was not started by a gateway.
            if life.try_exclusive() or not running or not self._is_ours(running):
                return
        os.kill(running.pid, signal.SIGINT)
        if not wait_for_end(running.pid, _STOP_S):
            os.kill(running.pid, signal.SIGQUIT)
        remove_socket_folder(running.socket_dir)

    def _is_ours(self, found: RunningServer) -> bool:
        return is_alive(found.pid) and self._cluster.is_home_of(found.pid)

    def _try_to_start(self, account: Account, port: int | None, life: FileLock) -> RunningServer | None:
        self._on_step("looking for the Postgres programs")
        programs = self._programs = self._programs or find_programs(self._bin_dir, account)
        if not self._cluster.exists:
            self._on_step("initialising the database")
            self._cluster.create(programs, account, sync=self._fsync)
        self._on_step("starting Postgres")
        port = port or free_port(self._cluster.last_port())
        launch = Launch(self._cluster, programs, account, self._log_file, self._settings)
        try:
            running = launch.start(port, socket_folder(self._cluster.path, account), life.descriptor, self._timeout_s)
        except TryAgain:
            return None
        if self._die_with_parent:
            self._guard = end_with_us(running.pid)
        return running

    def _call_guard_off(self) -> None:
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None


@asynccontextmanager
async def embedded_postgres(data_dir: Path, **options: Any) -> AsyncIterator[str]:
    """Run or join the server of a data directory, watch over it, and give its URL; options as `EmbeddedPostgres`."""
    async with EmbeddedPostgres(data_dir, **options) as server, server.watched():
        yield server.url


async def _in_thread(work: Callable[[], object]) -> None:
    """Run `work` in a thread to its end, even when cancelled, so that nothing is left half done."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
