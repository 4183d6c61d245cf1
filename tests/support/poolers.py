"""PgBouncer in front of a test's database, where Debian's package is installed."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextlib.contextmanager
def pooler(database_url: str, folder: Path, port: int, mode: str, *, pool_size: int = 20) -> Iterator[str]:
    """Run PgBouncer in `session` or `transaction` mode; yield the URL of the database through it."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed here")
    address = make_url(database_url)
    options = f"host={address.host} port={address.port} user={address.username} password={address.password}"
    folder.chmod(0o777)
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = {options}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = {pool_size}\nmax_client_conn = 500\nunix_socket_dir =\n"
    )
    user = "nobody" if os.geteuid() == 0 else None
    log = (folder / "pgbouncer.log").open("wb")
    # The folder is named by where the process starts, since an ordinary user may not pass through those above it.
    command = [PROGRAM, config.name]
    with log, subprocess.Popen(command, cwd=folder, user=user, stdout=log, stderr=log) as process:  # noqa: S603 -- ours
        try:
            through = address.set(host="127.0.0.1", port=port)
            _wait_for(port)
            yield through.render_as_string(hide_password=False)
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("pgbouncer did not start")
