"""The operating system's user that the server runs as: our own, or another one if we are root."""

import errno
import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import Unavailable

# Nothing of our own environment reaches the server: neither its secrets nor PG* variables that would change its mind.
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_ADVICE = (
    "run the gateway as a user without root's rights, or set GATEWAY_DATABASE_URL to a Postgres that runs elsewhere"
)


_OTHERWISE = "name another data directory with GATEWAY_DATA_DIR, or set GATEWAY_DATABASE_URL"
_ERROR = re.compile(r"^.*?\b(?:FATAL|PANIC|ERROR|error): +(.+)$", re.MULTILINE)


def first_error(output: str) -> str:
    """Pick what went wrong out of the output of a Postgres program: its first error, else its last line."""
    found = _ERROR.search(output)
    return found[1] if found else output.strip().rpartition("\n")[2] or "it said nothing"


class EmbeddedPostgresFailed(Unavailable):
    """The embedded Postgres cannot be set up or started; the detail states why and what to do."""

    title = "The embedded Postgres cannot be used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user to run programs as.

    Attributes:
        is_other: Whether this is another user than the present one, which only root can switch to.
    """

    uid: int
    gid: int
    is_other: bool

    def options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess.Popen` that make a child run as this user."""
        options: dict[str, Any] = {"env": _ENVIRONMENT}
        if self.is_other:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def directory(self, folder: Path) -> str:
        """Name a folder so that a child of this user that starts in it can reach it.

        Its path may lead through folders closed to that user, as root's home is; a process is let into its own
        working directory all the same.
        """
        here = "/proc/self/cwd"
        return here if self.is_other and Path(here).exists() else str(folder)

    def run(self, arguments: Sequence[str | Path], folder: Path, statements: str = "") -> str:
        """Run a program to its end in a folder, with `statements` as input, and return what it wrote.

        Raises:
            EmbeddedPostgresFailed: It did not succeed.
        """
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 -- the arguments are our own
                arguments,
                cwd=folder,
                input=statements,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                **self.options(),
            )
        except OSError as error:
            raise self.failure(error) from error
        if done.returncode:
            raise EmbeddedPostgresFailed(f"{Path(arguments[0]).name} failed: {first_error(done.stdout)}; {_OTHERWISE}.")
        return done.stdout

    def own(self, path: Path) -> None:
        """Return a file or folder to this user."""
        if self.is_other:
            try:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
            except OSError as error:
                raise self.failure(error) from error

    def failure(self, error: OSError) -> EmbeddedPostgresFailed:
        """Describe why a program could not be run as this user."""
        if self.is_other and error.errno in {errno.EPERM, errno.EINVAL}:
            return EmbeddedPostgresFailed(
                f"Postgres refuses to run as root, and this process may not become user {self.uid}; {_ADVICE}."
            )
        advice = f"; {_ADVICE}" if self.is_other else ""
        return EmbeddedPostgresFailed(f"A Postgres program cannot be run: {error}{advice}.")


def account_for(*folders: Path) -> Account:
    """Choose the user that the server runs as: for root the owner of the first folder not its own, else `nobody`."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), is_other=False)
    for folder in folders:
        if folder.exists() and (status := folder.stat()).st_uid != 0:
            return Account(uid=status.st_uid, gid=status.st_gid, is_other=True)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedPostgresFailed(
            f"Postgres refuses to run as root, and there is no user 'nobody'; {_ADVICE}."
        ) from error
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, is_other=True)
