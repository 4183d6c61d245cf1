"""Clients made from the published document: the linters find nothing, what is made compiles, and it reads answers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from tests.support.gateways import KEY, in_background, settings
from tests.support.servers import serving
from tests.support.vendors import VARIABLES, Vendors

HERE = Path(__file__).parent
TOOLS = Path(sys.prefix) / "openapi"
"""Where `make openapi` installs Node's and Python's tools."""

pytestmark = pytest.mark.skipif(
    not (TOOLS / ".ready").exists(),
    reason="left out: clients made from the OpenAPI document; get the tools with: make openapi",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "openapi.json").write_text(json.dumps(create_app(providers=()).openapi()))
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    for name in ("client.ts", "spectral.yaml"):
        shutil.copy(HERE / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture(scope="module")
def gateway_url(module_database_url: str) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        app = create_app(settings(module_database_url), Vendors().transport())
        with in_background(lambda: serving(app)) as url:
            yield url


def run(folder: Path, *command: str | Path) -> str:
    """Run a tool in a folder, and return what it wrote; it has to be content."""
    found = os.pathsep.join(map(str, (TOOLS / "bin", TOOLS / "node_modules" / ".bin", os.environ["PATH"])))
    environment = {"PATH": found, "HOME": str(folder), "NO_COLOR": "1", "REDOCLY_TELEMETRY": "off"}
    done = subprocess.run(  # noqa: S603 -- the tools and their arguments stand in this file
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_spectral_finds_nothing(folder: Path) -> None:
    run(folder, "spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "warn", "openapi.json")


def test_redocly_finds_nothing(folder: Path) -> None:
    report = json.loads(run(folder, "redocly", "lint", "--format", "json", "openapi.json"))

    assert report["problems"] == []


def test_a_typescript_client_compiles_and_reads_answers(folder: Path, gateway_url: str) -> None:
    strictly = ("--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")

    run(folder, "openapi-typescript", "openapi.json", "--output", "gateway.d.ts")
    run(folder, "tsc", *strictly, "client.ts")
    answers = json.loads(run(folder, "node", "client.js", gateway_url, KEY))

    check(answers)


def test_a_python_client_is_made_whole_and_reads_answers(folder: Path, gateway_url: str) -> None:
    made = folder / "python"

    said = run(
        folder,
        "openapi-python-client",
        "generate",
        "--path",
        "openapi.json",
        "--output-path",
        made,
        "--fail-on-warning",
    )
    shutil.copy(HERE / "client.py", made)
    answers = json.loads(run(made, TOOLS / "bin" / "python", "client.py", gateway_url, KEY))

    assert "Warning" not in said
    check(answers)


def check(answers: dict[str, Any]) -> None:
    """Hold what a client read against what the vendor said."""
    assert answers["latitude"] == pytest.approx(42.09551)
    assert answers["code"] == "INVALID_ARGUMENT"
    assert answers["located"] == 1
    assert answers["stored"] == answers["timestamp"]
