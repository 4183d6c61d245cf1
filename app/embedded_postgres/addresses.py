"""Where the server listens: a loopback port, and a folder for its Unix socket."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

from app.embedded_postgres.account import Account

_LONGEST_SOCKET_PATH = 107
_LONGEST_NAME = "/.s.PGSQL.65535.lock"
_FOLDER_PREFIX = "gateway-pg-"


def free_port(wish: int | None) -> int:
    """Find a free loopback port, the wished one if it can be had."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wish or 0))
        except OSError:
            return free_port(None)
        port: int = probe.getsockname()[1]
        return port


def socket_folder(cluster: Path, account: Account) -> str:
    """Choose a folder that only the account can enter: the cluster, or where its path is too long, a new one."""
    if len(os.fsencode(cluster)) + len(_LONGEST_NAME) <= _LONGEST_SOCKET_PATH:
        # Relative to the cluster, whose path the server may not be able to walk.
        return "."
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir="/tmp"))
    account.own(folder)
    return str(folder)


def remove_socket_folder(folder: Path) -> None:
    """Remove a folder made by `socket_folder`; the cluster stays."""
    if folder.name.startswith(_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
