"""The server's process: launched, waited for, and ended together with ours where that is wanted."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.embedded_postgres.account import Account, EmbeddedPostgresFailed, first_error
from app.embedded_postgres.cluster import Cluster, RunningServer
from app.embedded_postgres.programs import Programs

_PAUSE_S = 0.01
_LOG_LIMIT_BYTES = 8 * 1024 * 1024
# Causes that pass: the port is taken for a moment, or processes of a killed server have not noticed it yet.
_PASSING = re.compile(r"could not bind|could not create any TCP/IP sockets|still in use|lock file .* already exists")

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # A read over a year of partitions takes up to 400 locks.
    "max_locks_per_transaction": "256",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements and the details of errors hold identifiers and positions.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class TryAgain(Exception):
    """The server did not start, for a cause that passes."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start the server of one cluster."""

    cluster: Cluster
    programs: Programs
    account: Account
    log: Path
    settings: Mapping[str, str]

    def start(self, port: int, socket_dir: str, held: int, timeout_s: float) -> RunningServer:
        """Start the server and wait until it answers.

        Args:
            port: On loopback.
            socket_dir: Absolute, or relative to the cluster.
            held: Descriptor of a lock, which will be held for as long as any process of the server lives.
            timeout_s: How long that may take.

        Raises:
            TryAgain: It failed, and may not the next time.
            EmbeddedPostgresFailed: It failed, and the detail has its own words.
        """
        settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": socket_dir, **self.settings}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        trim(self.log)
        with self.log.open("ab") as log:
            beginning = log.tell()
            try:
                process = subprocess.Popen(  # noqa: S603 -- the arguments are our own
                    [self.programs.postgres, "-D", self.account.directory(self.cluster.path), *arguments],
                    cwd=self.cluster.path,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[held],
                    # Ctrl-C on a terminal is for the gateway, which has work to finish with this server.
                    start_new_session=True,
                    **self.account.options(),
                )
            except OSError as error:
                raise self.account.failure(error) from error
        # The child has to be reaped, whenever it ends, or it stays in the list of processes.
        threading.Thread(target=process.wait, name="postgres", daemon=True).start()
        return self._wait_until_ready(process, beginning, timeout_s)

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]", beginning: int, timeout_s: float) -> RunningServer:
        until = time.monotonic() + timeout_s
        while process.poll() is None:
            running = self.cluster.running()
            if running and running.pid == process.pid and running.is_ready:
                return running
            if time.monotonic() > until:
                process.send_signal(signal.SIGQUIT)
                raise EmbeddedPostgresFailed(f"Postgres was not ready after {timeout_s:.0f} s; see {self.log}.")
            time.sleep(_PAUSE_S)
        with self.log.open("rb") as log:
            log.seek(beginning)
            words = log.read().decode(errors="replace").strip()
        if _PASSING.search(words):
            raise TryAgain(words)
        raise EmbeddedPostgresFailed(f"Postgres did not start: {first_error(words)}; see {self.log}.")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not taken note of does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return state != "Z"


def wait_for_end(pid: int, timeout_s: float) -> bool:
    """Wait until a process is gone; return False if it is not."""
    until = time.monotonic() + timeout_s
    while is_alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE_S)
    return True


def end_with_us(pid: int) -> "subprocess.Popen[bytes]":
    """Start a guard that shuts the server down when this process is gone, however it went; kill it to call it off."""
    return subprocess.Popen(  # noqa: S603 -- the arguments are our own
        ["/bin/sh", "-c", 'read -r nothing; kill -INT "$1"', "guard", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def trim(log: Path) -> None:
    """Empty the server's log when it has grown too large."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        os.truncate(log, 0)
