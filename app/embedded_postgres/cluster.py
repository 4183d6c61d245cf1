"""The cluster on disk: how it is made, and what can be read off its files."""

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from app.embedded_postgres.account import Account, EmbeddedPostgresFailed
from app.embedded_postgres.programs import Programs

# The role owns its database, and does not rule the server.
_NAME = "gateway"
_PASSWORD_FILE = "gateway.password"  # noqa: S105 -- a file's name
_ACCESS = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
_READY_LINES = 8
_READY = ("ready", "standby")
"""What a server that takes connections calls itself; a standby takes those that only read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A running server's description of itself in its pid file."""

    pid: int
    port: int
    socket_dir: Path
    is_ready: bool


class Cluster:
    """The files of one Postgres server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether it has been made, completely."""
        return (self.path / "PG_VERSION").exists()

    def url(self, running: RunningServer) -> str:
        """Return the server's address over TCP, password included."""
        return f"postgresql://{_NAME}:{self._password()}@127.0.0.1:{running.port}/{_NAME}"

    def socket_url(self, running: RunningServer) -> str:
        """Return the server's address over its Unix socket, password included."""
        place = f"host={running.socket_dir}&port={running.port}"
        return f"postgresql://{_NAME}:{self._password()}@/{_NAME}?{place}"

    async def lets_in(self, running: RunningServer) -> bool:
        """Return whether a running server is this cluster's, and answers.

        Raises:
            EmbeddedPostgresFailed: Its password is another one.
        """
        try:
            connection = await asyncpg.connect(self.url(running))
        except asyncpg.InvalidPasswordError as error:
            raise EmbeddedPostgresFailed(f"The server of {self.path} was given another password.") from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            # It was killed a moment ago, or serves another network than ours.
            return False
        await connection.close()
        return True

    def running(self) -> RunningServer | None:
        """Read the pid file; None where there is none, or only its beginning."""
        try:
            lines = (self.path / "postmaster.pid").read_text().splitlines()
            status = lines[_READY_LINES - 1] if len(lines) >= _READY_LINES else ""
            return RunningServer(
                pid=int(lines[0]),
                port=int(lines[3]),
                socket_dir=self.path / lines[4],
                is_ready=status.strip() in _READY,
            )
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def last_port(self) -> int | None:
        """Return the port of the last start."""
        options = self.path / "postmaster.opts"
        found = re.search(r'"port=(\d+)"', options.read_text()) if options.exists() else None
        return int(found[1]) if found else None

    def is_home_of(self, pid: int) -> bool:
        """Return whether a process works in this cluster, as a server does; True where the system does not say."""
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self.path)
        except OSError:
            return not Path("/proc/self/cwd").exists()

    def forget_server(self) -> None:
        """Remove what a dead server left, so that another process with its id is not taken for it."""
        for leftover in (self.path / "postmaster.pid", *self.path.glob(".s.PGSQL.*")):
            leftover.unlink(missing_ok=True)

    def create(self, programs: Programs, account: Account, *, sync: bool) -> None:
        """Make the cluster with its role and database; whenever it is interrupted, there is none."""
        staging = self.path.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        account.own(staging)
        _initialise(staging, programs, account, sync=sync)
        staging.rename(self.path)
        _sync(self.path.parent)

    def _password(self) -> str:
        return (self.path / _PASSWORD_FILE).read_text()


def _initialise(folder: Path, programs: Programs, account: Account, *, sync: bool) -> None:
    place = account.directory(folder)
    options = ["--auth=reject", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
    durable = [] if sync else ["--no-sync"]
    account.run([programs.initdb, "-D", place, "-U", "postgres", *options, *durable], folder)

    password = secrets.token_hex(32)
    _write(folder / _PASSWORD_FILE, password, account)
    _write(folder / "pg_hba.conf", _ACCESS, account)
    # In single-user mode no other process can connect meanwhile, and the password shows in no list of processes. The
    # superuser gets none, so logging in as one is impossible. A random password needs no slow hash.
    statements = (
        "SET scram_iterations = 1\n"
        f"CREATE ROLE {_NAME} LOGIN CREATEDB PASSWORD '{password}'\n"
        f"CREATE DATABASE {_NAME} OWNER {_NAME}\n"
    )
    quiet = ["-c", "log_min_error_statement=panic"]
    said = account.run([programs.postgres, "--single", *quiet, "-D", place, "postgres"], folder, statements)
    # Postgres before 16 does not know that setting, and single-user mode carries on after an error.
    if errors := [line for line in said.splitlines() if "ERROR" in line and "scram_iterations" not in line]:
        raise EmbeddedPostgresFailed(f"The new cluster cannot be set up: {errors}")


def _write(path: Path, content: str, account: Account) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    account.own(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
