"""How processes share the embedded server, and how it comes back from being killed."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresFailed, embedded_postgres
from app.embedded_postgres.account import account_for
from app.embedded_postgres.locks import FileLock
from app.embedded_postgres.process import is_alive, wait_for_end
from app.storage.connections import Connector
from tests.support.postgres import copy_cluster
from tests.support.servers import running

Start = Callable[..., EmbeddedPostgres]

USER = """
import sys
from pathlib import Path
from app.embedded_postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
print(server.start(), server.pid, flush=True)
sys.stdin.read()
server.stop()
"""


def user(data_dir: Path, script: str = USER) -> "subprocess.Popen[str]":
    """Start a process that uses the server until its input ends."""
    return subprocess.Popen(  # noqa: S603 -- the arguments are our own
        [sys.executable, "-c", script, data_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def said(process: "subprocess.Popen[str]") -> tuple[str, int]:
    assert process.stdout
    url, pid = process.stdout.readline().split()
    return url, int(pid)


def wait_for_words(log: Path, words: str) -> None:
    until = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)


async def ask(url: str, question: str = "SELECT 1") -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def ask_until_answered(url: str, question: str = "SELECT 1") -> object:
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask(url, question)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)


@pytest.fixture
def quick(durable_postgres: Start) -> Start:
    """Servers that need not survive the machine."""
    return lambda data_dir=None, **options: durable_postgres(data_dir, fsync=False, **options)


@contextmanager
def started(data_dir: Path, **options: Any) -> Iterator[EmbeddedPostgres]:
    """Start a server that has to make its files first."""
    server = EmbeddedPostgres(data_dir, fsync=False, die_with_parent=True, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def test_it_is_reached_over_loopback_and_over_a_socket(quick: Start) -> None:
    server = quick()

    assert await ask(server.url, "SELECT host(inet_server_addr())") == "127.0.0.1"
    assert await ask(server.socket_url, "SELECT inet_server_addr()") is None


async def test_an_engine_reaches_its_socket(quick: Start) -> None:
    engine = Connector(quick().socket_url).create_engine(poolclass=NullPool)

    async with engine.connect() as connection:
        address = await connection.scalar(text("SELECT inet_server_addr()"))
    await engine.dispose()

    assert address is None


def test_a_long_path_gets_a_private_socket_elsewhere(quick: Start, tmp_path: Path) -> None:
    server = quick(tmp_path / ("long-" * 30) / "data")
    folder = Path(str(make_url(server.socket_url).query["host"]))

    answer = asyncio.run(ask(server.socket_url))
    mode = stat.S_IMODE(folder.stat().st_mode)
    server.stop()

    assert answer == 1
    assert mode == 0o700
    assert not folder.exists()


async def test_nobody_gets_in_without_the_password(quick: Start) -> None:
    url = make_url(quick().url).set(password="guess").render_as_string(hide_password=False)

    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(url)


async def test_nobody_gets_in_as_superuser(quick: Start) -> None:
    url = make_url(quick().url).set(username="postgres").render_as_string(hide_password=False)

    with pytest.raises(asyncpg.InvalidPasswordError):
        await ask(url)


def test_only_the_owner_may_read_the_files(quick: Start) -> None:
    server = quick()
    password = server.data_dir / "postgres" / "gateway.password"

    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert stat.S_IMODE(password.parent.stat().st_mode) == 0o700


async def test_it_is_durable_unless_told_otherwise(durable_postgres: Start) -> None:
    server = durable_postgres()

    assert await ask(server.url, "SHOW fsync") == "on"
    assert await ask(server.url, "SHOW synchronous_commit") == "on"


async def test_settings_are_handed_on(quick: Start) -> None:
    server = quick(settings={"max_connections": "17"})

    assert await ask(server.url, "SHOW max_connections") == "17"


async def test_its_log_keeps_no_content(quick: Start) -> None:
    server = quick()
    with pytest.raises(asyncpg.UndefinedTableError):
        await ask(server.url, "SELECT 990001123456782 FROM nowhere")

    log = (server.data_dir / "postgres.log").read_text()

    assert "nowhere" in log
    assert "990001123456782" not in log


def test_a_log_grown_too_large_is_emptied(quick: Start) -> None:
    server = quick()
    server.stop()
    log = server.data_dir / "postgres.log"
    with log.open("ab") as file:
        file.truncate(9 * 1024 * 1024)

    server.start()

    assert log.stat().st_size < 100_000


async def test_data_and_address_survive_a_restart(quick: Start) -> None:
    server = quick()
    url = server.url
    await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")

    server.stop()
    server.start()

    assert server.url == url
    assert await ask(url, "SELECT answer FROM kept") == 42


def test_another_port_is_taken_when_the_old_one_is_not_free(quick: Start) -> None:
    server = quick()
    port = make_url(server.url).port
    server.stop()

    with socket.create_server(("127.0.0.1", port or 0)):
        server.start()

    assert make_url(server.url).port != port


def test_progress_is_told(tmp_path: Path) -> None:
    steps: list[str] = []

    with started(tmp_path / "data", on_step=steps.append):
        pass

    assert steps == ["looking for the Postgres programs", "initialising the database", "starting Postgres"]


def test_an_interrupted_initialisation_is_done_again(tmp_path: Path) -> None:
    half_made = tmp_path / "data" / "postgres.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")

    with started(tmp_path / "data") as server:
        assert server.pid

    assert not half_made.exists()


def test_two_processes_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    users = [user(tmp_path / "data") for _ in range(3)]

    answers = {said(process) for process in users}
    (_, pid), *others = answers
    for process in users:
        process.communicate()

    assert others == []
    assert [process.returncode for process in users] == [0, 0, 0]
    assert not is_alive(pid)


async def test_it_stays_while_somebody_uses_it(tmp_path: Path) -> None:
    first, second = user(tmp_path / "data"), user(tmp_path / "data")
    url, _ = said(first)
    said(second)

    await asyncio.to_thread(first.communicate)
    answer = await ask(url)
    await asyncio.to_thread(second.communicate)

    assert answer == 1
    with pytest.raises(OSError, match=r"refused|failed"):
        await ask(url)


async def test_a_server_left_by_a_killed_process_is_joined(tmp_path: Path, quick: Start) -> None:
    killed = user(tmp_path / "data")
    url, pid = said(killed)
    await ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    killed.kill()
    killed.communicate()

    server = await asyncio.to_thread(quick, tmp_path / "data")

    assert (server.url, server.pid) == (url, pid)
    assert await ask(server.url, "SELECT answer FROM kept") == 42
    await asyncio.to_thread(server.stop)
    assert not is_alive(pid)


async def test_a_killed_server_comes_back_with_all_that_was_committed(durable_postgres: Start) -> None:
    server = durable_postgres()
    await ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(server.pid, signal.SIGKILL)

    again = await asyncio.to_thread(durable_postgres, server.data_dir)

    assert await ask(again.url, "SELECT answer FROM kept") == 42


async def test_a_killed_server_is_restarted_at_the_same_address(tmp_path: Path) -> None:
    async with embedded_postgres(tmp_path / "data", fsync=False, die_with_parent=True) as url:
        await ask(url, "CREATE TABLE kept AS SELECT pg_postmaster_start_time() AS started_at")
        pid = int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(wait_for_end, pid, 10)

        restarted = await ask_until_answered(url, "SELECT pg_postmaster_start_time() > max(started_at) FROM kept")

    assert restarted


async def test_a_restart_waits_until_its_port_is_free(quick: Start) -> None:
    server = quick()
    url, pid = server.url, server.pid
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(wait_for_end, pid, 10)

    taken = socket.create_server(("127.0.0.1", make_url(url).port or 0))
    async with server.watched():
        with taken:
            await asyncio.to_thread(wait_for_words, server.data_dir / "postgres.log", "could not bind")
        answer = await ask_until_answered(url)

    assert answer == 1


async def test_two_users_that_watch_it_restart_it_once(tmp_path: Path) -> None:
    options = {"fsync": False, "die_with_parent": True}
    async with embedded_postgres(tmp_path, **options) as one, embedded_postgres(tmp_path, **options) as other:
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(wait_for_end, pid, 10)

        answers = [await ask_until_answered(url, "SELECT pg_postmaster_start_time()") for url in (one, other)]

    assert answers[0] == answers[1]


def test_a_stranger_with_the_dead_servers_process_id_is_left_alone(quick: Start) -> None:
    server = quick()
    pid_file = server.data_dir / "postgres" / "postmaster.pid"
    left_behind = pid_file.read_text()
    server.stop()
    with running(["-c", "import time; time.sleep(600)"]) as stranger:
        lines = left_behind.splitlines(keepends=True)
        pid_file.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))

        server.start()
        started = server.pid
        server.stop()

        assert started != stranger.pid
        assert stranger.process.poll() is None


def test_a_copy_of_a_running_servers_files_gets_a_server_of_its_own(quick: Start, tmp_path: Path) -> None:
    server = quick()
    server.stop()
    files, copy = server.data_dir / "postgres", tmp_path / "copy" / "postgres"
    copy_cluster(files, copy)
    server.start()
    (copy / "postmaster.pid").write_bytes((files / "postmaster.pid").read_bytes())

    other = quick(tmp_path / "copy")

    assert other.pid != server.pid
    assert make_url(other.url).port != make_url(server.url).port


def test_it_ends_with_the_process_that_wanted_it_so(tmp_path: Path) -> None:
    process = user(tmp_path, USER.replace("fsync=False", "fsync=False, die_with_parent=True"))
    _, pid = said(process)

    process.kill()
    process.communicate()

    assert wait_for_end(pid, 30)


async def test_a_start_that_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", fsync=False, die_with_parent=True)
    starting = asyncio.create_task(server.__aenter__())
    await asyncio.sleep(0)
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting

    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


def test_nothing_of_our_environment_reaches_the_server(
    quick: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("GATEWAY_API_KEY", "not-for-postgres")

    server = quick(tmp_path / "data")

    assert make_url(server.url).port != 1
    environment = Path(f"/proc/{server.pid}/environ")
    assert not environment.exists() or b"not-for-postgres" not in environment.read_bytes()


def test_a_configured_folder_without_programs_is_an_error_that_says_so(quick: Start, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresFailed, match="GATEWAY_POSTGRES_BIN"):
        quick(tmp_path / "data", bin_dir=tmp_path / "nothing here")


def test_a_setting_that_postgres_refuses_is_an_error_in_its_words(quick: Start, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresFailed, match="no_such_setting"):
        quick(tmp_path / "data", settings={"no_such_setting": "1"})


def test_a_place_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()

    with pytest.raises(EmbeddedPostgresFailed, match="a file/data"), started(tmp_path / "a file" / "data"):
        pass


def test_a_start_that_takes_too_long_is_given_up(quick: Start, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresFailed, match="not ready after 0 s"):
        quick(tmp_path / "data", timeout_s=0)


def test_a_process_that_is_busy_with_it_for_too_long_is_an_error(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / "postgres.start.lock", account_for()).wait(1),
        pytest.raises(EmbeddedPostgresFailed, match="is locked"),
        started(tmp_path, timeout_s=0),
    ):
        pass


def test_stopping_what_was_not_started_does_nothing(tmp_path: Path) -> None:
    EmbeddedPostgres(tmp_path / "data").stop()

    assert not (tmp_path / "data").exists()


def test_it_has_no_address_before_it_is_started(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        _ = EmbeddedPostgres(tmp_path).url
