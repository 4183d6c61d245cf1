"""Locks between processes, on files; the kernel lets go of them when their holders die."""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded_postgres.account import Account, EmbeddedPostgresFailed

_PAUSE_S = 0.02


class FileLock:
    """One holder's claim to a file, shared or exclusive; children that inherit `descriptor` hold it as well."""

    def __init__(self, path: Path, account: Account) -> None:
        """Open the file, making it where it is missing."""
        self._path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        account.own(path)

    def try_exclusive(self) -> bool:
        """Become the only holder, if there is no other."""
        return self._try(fcntl.LOCK_EX)

    def wait(self, timeout_s: float, *, shared: bool = False) -> Self:
        """Become the only holder, or one of those that share.

        Raises:
            EmbeddedPostgresFailed: Another process held it for all that time.
        """
        until = time.monotonic() + timeout_s
        while not self._try(fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise EmbeddedPostgresFailed(f"Another process is still busy with it: {self._path} is locked.")
            time.sleep(_PAUSE_S)
        return self

    def close(self) -> None:
        """Let go of it, except for children that inherited it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self.descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
