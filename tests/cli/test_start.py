"""`serve` says what it works with, and what keeps it from starting, in one sentence with an exit status of its kind."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from app.cli import exits
from tests.support.gateways import KEY
from tests.support.servers import PROJECT, running


def run(*arguments: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(  # noqa: S603 -- the arguments are our own
        [sys.executable, "-m", "app", *arguments],
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def changed(url: str, **parts: Any) -> str:
    """Put another user, password, port or path into a URL."""
    split = urlsplit(url)
    user, password = parts.get("user", split.username), parts.get("password", split.password)
    netloc = f"{user}:{password}@{split.hostname}:{parts.get('port', split.port)}"
    return urlunsplit(split._replace(netloc=netloc, path=parts.get("path", split.path)))


@pytest.fixture
def troubled(request: pytest.FixtureRequest, database_url: str, empty_database_url: str, free_port: int) -> str:
    urls = {
        "nobody answers": changed(database_url, port=free_port),
        "unknown host": "postgresql://user:hidden-word@nowhere.invalid/gateway",
        "wrong password": changed(database_url, password="hidden-word"),
        "unknown user": changed(database_url, user="stranger"),
        "missing database": changed(database_url, path="/not-there"),
        "not migrated": empty_database_url,
    }
    return urls[request.param]


@pytest.mark.parametrize(
    ("troubled", "words"),
    [
        ("nobody answers", "Nothing answers at 127.0.0.1"),
        ("unknown host", "nowhere.invalid is not known"),
        ("wrong password", "refuses the user or the password"),
        ("unknown user", "refuses the user or the password"),
        ("missing database", "no database not-there"),
        ("not migrated", "run: location-gateway migrate"),
    ],
    indirect=["troubled"],
)
def test_a_database_that_cannot_be_used_is_explained_in_a_sentence(troubled: str, words: str, tmp_path: Path) -> None:
    done = run("serve", environment={"GATEWAY_DATABASE_URL": troubled, "GATEWAY_PORT": "0"}, folder=tmp_path)

    assert done.returncode == 4
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hidden-word" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("troubled", "words"),
    [("unknown host", "nowhere.invalid is not known"), ("wrong password", "refuses the user or the password")],
    indirect=["troubled"],
)
def test_migrating_explains_it_in_the_same_words(troubled: str, words: str, tmp_path: Path) -> None:
    done = run("migrate", environment={"GATEWAY_DATABASE_URL": troubled}, folder=tmp_path)

    assert done.returncode == 4
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_programs_are_told_in_json(command: str, free_port: int, tmp_path: Path) -> None:
    environment = {
        "GATEWAY_DATABASE_URL": f"postgresql://user:hidden-word@127.0.0.1:{free_port}/x",
        "GATEWAY_PORT": "0",
    }

    done = run(command, "--json", environment=environment, folder=tmp_path)

    said = json.loads(done.stdout)
    assert (done.returncode, said["exitStatus"], said["reason"]) == (4, 4, "unreachable")
    assert "hidden-word" not in done.stdout + done.stderr


def test_a_port_in_use_is_explained_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve", "--port", port, environment={}, folder=tmp_path)

    assert done.returncode == 5
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr
    assert not (tmp_path / ".data").exists()


def test_a_data_directory_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = run("serve", environment={"GATEWAY_DATA_DIR": "file", "GATEWAY_PORT": "0"}, folder=tmp_path)

    assert done.returncode == 6
    assert "GATEWAY_DATA_DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"GATEWAY_PORT": "many"}, id="of the gateway"),
        pytest.param({"THINGSPACE_TIMEOUT_S": "soon"}, id="of a provider"),
        pytest.param({"GATEWAY_DATABASE_URL": "mysql://hidden-word@db/x"}, id="of the database"),
        pytest.param({"GATEWAY_DATABASE_DIRECT_URL": "postgresql://hidden-word@db/x"}, id="past a pooler that is none"),
        pytest.param({"GATEWAY_DATABASE_READ_URL": "postgresql://hidden-word@db/x"}, id="standby of no primary"),
    ],
)
def test_settings_that_are_not_valid_are_named(environment: dict[str, str], tmp_path: Path) -> None:
    done = run("serve", environment=environment, folder=tmp_path)

    assert done.returncode == 3
    assert next(iter(environment)) in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden-word" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "migrate", "keys list"])
def test_an_env_file_that_cannot_be_read_ends_every_command_in_words(command: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")

    done = run(*command.split(), environment={}, folder=tmp_path)

    assert done.returncode == 3
    assert ".env: is not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_start_is_told_once_beside_the_log(
    workers: str, database_url: str, tmp_path: Path, free_port: int
) -> None:
    environment = {
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_DATABASE_URL": database_url,
        "THINGSPACE_KEY": "hidden-word",
        "COLUMNS": "200",
    }
    arguments = ["serve", "--port", str(free_port), "--workers", workers]
    program = ["-c", f"import sys; sys.stderr = open('log', 'w'); from app.cli import app; app({arguments})"]
    with running(program, environment=environment, folder=tmp_path) as started:
        await started.answers(f"http://127.0.0.1:{free_port}/readyz")
        told = started.output()

    assert told.count("Location gateway") == 1
    assert f"http://127.0.0.1:{free_port}/docs" in told
    assert f"at 127.0.0.1:{urlsplit(database_url).port}" in told
    assert "thingspace not configured: set THINGSPACE_SECRET" in told
    assert "warning: THINGSPACE_SECRET, THINGSPACE_USERNAME and THINGSPACE_PASSWORD are not set" in told
    assert "listener register" in told
    assert "hidden-word" not in told
    assert KEY not in told
    assert urlsplit(database_url).password not in told


async def test_the_start_as_json_is_one_document(tmp_path: Path) -> None:
    with running(["-m", "app", "serve", "--json"], environment={"GATEWAY_PORT": "0"}, folder=tmp_path) as started:
        while "\n}\n" not in started.output():
            assert started.process.poll() is None, started.output()
            await asyncio.sleep(0.05)
        said = json.loads(started.output()[: started.output().index("\n}\n") + 2])
        await started.answers(f"{said['address']}/readyz")
        status = started.terminate()

    assert status == 0
    assert said["database"]["kind"] == "embedded"
    assert said["auth"] == "keys"
    assert not (tmp_path / ".data" / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("after", ["starting Postgres", "Location gateway"])
def test_a_signal_at_any_moment_leaves_no_postgres_behind(after: str, tmp_path: Path) -> None:
    with running(["-m", "app", "serve"], environment={"GATEWAY_PORT": "0"}, folder=tmp_path) as started:
        while after not in started.output():
            assert started.process.poll() is None, started.output()
            time.sleep(0.01)
        started.terminate()

    assert not (tmp_path / ".data" / "postgres" / "postmaster.pid").exists()


async def test_it_starts_without_a_database_where_that_is_asked_for(tmp_path: Path, free_port: int) -> None:
    environment = {"GATEWAY_DATABASE_URL": "postgresql://user:word@127.0.0.1:1/x"}
    arguments = ["-m", "app", "serve", "--without-database", "--port", str(free_port)]
    with running(arguments, environment=environment, folder=tmp_path) as started:
        await started.answers(f"http://127.0.0.1:{free_port}/healthz")
        told = started.output()

    assert "not usable yet: Nothing answers at 127.0.0.1:1" in told


def test_every_exit_status_is_documented() -> None:
    documented = {
        int(number) for number in re.findall(r"^\| ([0-9]) \|", (PROJECT / "README.md").read_text(), re.MULTILINE)
    }

    assert documented == {0, 2, 6, *exits.STATUSES.values()}
    assert all(f"{number} " in exits.HELP for number in documented)
